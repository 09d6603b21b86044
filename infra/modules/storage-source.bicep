// A source account for a trial. A real deployment names its own, which this never touches but for role assignments.

@description('Region.')
param location string

@description('Tags of everything that is created.')
param tags object

@description('Name of the account.')
param accountName string

@description('Whether it is a Data Lake account.')
param hierarchicalNamespace bool

@description('Days after which snapshots are deleted; 0: never.')
param snapshotDays int

@description('Redundancy.')
param redundancy string

@description('Whether it is reached through private endpoints alone.')
param private bool

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
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
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
    deleteRetentionPolicy: {
      enabled: true
      days: 14
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: 14
    }
  }
}

// A rule sees a snapshot's age, not whether its version has a backup: nothing here can keep it from deleting the only
// copy. So it is off by default, and at least 30 days, in which reconcile runs thirty times and alerts after one day.
resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2024-01-01' = if (snapshotDays > 0) {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'snapkeep-snapshots'
          type: 'Lifecycle'
          enabled: true
          definition: {
            filters: {
              blobTypes: [
                'blockBlob'
              ]
            }
            actions: {
              snapshot: {
                delete: {
                  daysAfterCreationGreaterThan: max(30, snapshotDays)
                }
              }
            }
          }
        }
      ]
    }
  }
  dependsOn: [
    blobs
  ]
}
