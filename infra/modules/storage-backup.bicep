// A new account for the backups. Its containers are in backup-containers.bicep, which existing accounts get too.

@description('Region.')
param location string

@description('Tags of everything that is created.')
param tags object

@description('Name of the account.')
param accountName string

@description('Redundancy.')
param redundancy string

@description('Whether it is a Data Lake account, which has no versions of blobs.')
param hierarchicalNamespace bool

@description('Days for which deleted blobs and containers can be brought back.')
param softDeleteDays int

@description('Days after creation that a backup moves to the cool tier; 0: never.')
param coolAfterDays int

@description('Days after creation that a backup moves to the cold tier; 0: never.')
param coldAfterDays int

@description('Days after creation that a backup moves to the archive tier; 0: never.')
param archiveAfterDays int

@description('Days after creation that a backup is deleted; 0: never.')
param expireAfterDays int

@description('Whether blobs are copied from and to accounts of the same tenant alone.')
param sameTenantCopiesOnly bool

@description('Whether it is reached through private endpoints alone.')
param private bool

@description('Workspace that is told of deletions.')
param workspaceId string

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  name: accountName
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: redundancy
  }
  properties: {
    isHnsEnabled: hierarchicalNamespace
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    // No key and no SAS of a key opens the backups: identities alone, which can be told from each other.
    allowSharedKeyAccess: false
    allowedCopyScope: sameTenantCopiesOnly ? 'AAD' : null
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: private ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: private ? 'Deny' : 'Allow'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' = {
  parent: account
  name: 'default'
  properties: {
    // Backups are never overwritten by the app. Should somebody do it, what stood there before is a version.
    isVersioningEnabled: !hierarchicalNamespace
    deleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
      allowPermanentDelete: false
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
  }
}

var toCool = {
  tierToCool: {
    daysAfterCreationGreaterThan: coolAfterDays
  }
}
var toCold = {
  tierToCold: {
    daysAfterCreationGreaterThan: coldAfterDays
  }
}
var toArchive = {
  tierToArchive: {
    daysAfterCreationGreaterThan: archiveAfterDays
  }
}
var expire = {
  delete: {
    daysAfterCreationGreaterThan: expireAfterDays
  }
}
var current = union(
  coolAfterDays > 0 ? toCool : {},
  coldAfterDays > 0 ? toCold : {},
  archiveAfterDays > 0 ? toArchive : {},
  expireAfterDays > 0 ? expire : {}
)
var actions = union(
  empty(current) ? {} : { baseBlob: current },
  expireAfterDays > 0 && !hierarchicalNamespace ? { version: expire } : {}
)

// By creation, not by last access: reading a backup to prove it must not make it dearer.
var oldBackups = {
  name: 'snapkeep-old-backups'
  type: 'Lifecycle'
  enabled: true
  definition: {
    filters: {
      blobTypes: [
        'blockBlob'
      ]
    }
    actions: actions
  }
}
// With versioning a deletion makes the blob a version, which nothing else would ever end: not that of an expired
// backup (above), and not that of a staged blob, which the app deletes when it has become a backup.
var discardedStaging = {
  name: 'snapkeep-discarded-staging'
  type: 'Lifecycle'
  enabled: true
  definition: {
    filters: {
      blobTypes: [
        'blockBlob'
      ]
      prefixMatch: [
        'snapkeep-staging/'
      ]
    }
    actions: {
      version: {
        delete: {
          daysAfterCreationGreaterThan: 1
        }
      }
    }
  }
}
var rules = concat(empty(current) ? [] : [oldBackups], hierarchicalNamespace ? [] : [discardedStaging])

resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2024-01-01' = if (!empty(rules)) {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: rules
    }
  }
  dependsOn: [
    blobs
  ]
}

// Deletions alone: they are rare, and each outside the staging container wants an explanation (alerts.bicep).
resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: blobs
  name: 'snapkeep'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'StorageDelete'
        enabled: true
      }
    ]
  }
}
