// What may be done to the account of the backups; see roles-source.bicep.

@description('Makes the roles\' names this deployment\'s own: they must be unique in the tenant.')
param suffix string

@description('The account of the backups.')
param accountName string

@description('The app\'s identity.')
param appPrincipalId string

@description('Data Factory\'s identity.')
param factoryPrincipalId string

@description('Whether Data Factory copies.')
param factory bool

@description('Whether the app may delete the scratch containers of drills; no role can confine that to them.')
param drills bool

@description('Containers in which mirrored deletions are made; empty: none are.')
param deleteInMirrors array

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: accountName
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' existing = {
  parent: account
  name: 'default'
}

resource staging 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' existing = {
  parent: blobs
  name: 'snapkeep-staging'
}

resource appRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, suffix, 'app on backup')
  properties: {
    roleName: 'Snapkeep app on backup ${suffix}'
    description: 'Adds and reads backups. Deletes none.'
    type: 'CustomRole'
    assignableScopes: [
      resourceGroup().id
    ]
    permissions: [
      {
        actions: [
          'Microsoft.Storage/storageAccounts/blobServices/read' // doctor looks whether soft delete is on
          'Microsoft.Storage/storageAccounts/blobServices/containers/read' // look at containers and their policies
          'Microsoft.Storage/storageAccounts/blobServices/containers/write' // make a backup container on first need
        ]
        notActions: []
        dataActions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read' // list backups, verify them
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action' // add a backup
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write' // blocks of what is over 256 MiB, pages; overwriting is what the policy and versions guard against
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags/read' // the hash that verify has kept
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags/write' // tags of the source, the hash of verify
        ]
        notDataActions: []
      }
    ]
  }
}

resource app 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account
  name: guid(account.id, appPrincipalId, appRole.name)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: appRole.id
  }
}

resource stagingRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, suffix, 'app on staging')
  properties: {
    roleName: 'Snapkeep app on staging ${suffix}'
    description: 'Removes what Data Factory has staged, once it is a backup.'
    type: 'CustomRole'
    assignableScopes: [
      resourceGroup().id
    ]
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete' // discard a staged blob; this container alone
        ]
        notDataActions: []
      }
    ]
  }
}

resource appOnStaging 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: staging
  name: guid(staging.id, appPrincipalId, stagingRole.name)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: stagingRole.id
  }
}

resource factoryRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (factory) {
  name: guid(resourceGroup().id, suffix, 'factory on staging')
  properties: {
    roleName: 'Snapkeep factory on staging ${suffix}'
    description: 'Writes what it copies.'
    type: 'CustomRole'
    assignableScopes: [
      resourceGroup().id
    ]
    permissions: [
      {
        actions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/read' // the connector looks at the container first
        ]
        notActions: []
        dataActions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read' // compare what was written (validateDataConsistency)
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action' // add a staged blob
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write' // its blocks
        ]
        notDataActions: []
      }
    ]
  }
}

resource factoryOnStaging 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (factory) {
  scope: staging
  name: guid(staging.id, factoryPrincipalId, factoryRole.name)
  properties: {
    principalId: factoryPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: factoryRole.id
  }
}

// A container's deletion cannot be made to depend on its name. What guards the others: a container with a write-once
// policy is not deleted while it holds a blob, and soft delete of containers brings back any other.
resource drillRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (drills) {
  name: guid(resourceGroup().id, suffix, 'drills')
  properties: {
    roleName: 'Snapkeep drills ${suffix}'
    description: 'Deletes the containers that drills have restored into.'
    type: 'CustomRole'
    assignableScopes: [
      resourceGroup().id
    ]
    permissions: [
      {
        actions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/delete' // remove the scratch container of a drill
        ]
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
  }
}

resource appDrills 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (drills) {
  scope: account
  name: guid(account.id, appPrincipalId, drillRole.name)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: drillRole.id
  }
}

resource mirrorRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (!empty(deleteInMirrors)) {
  name: guid(resourceGroup().id, suffix, 'mirrored deletions')
  properties: {
    roleName: 'Snapkeep mirrored deletions ${suffix}'
    description: 'Deletes files that are gone at the source from their mirrors.'
    type: 'CustomRole'
    assignableScopes: [
      resourceGroup().id
    ]
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete' // SNAPKEEP_SYNC_DELETE; the condition names the mirrors
        ]
        notDataActions: []
      }
    ]
  }
}

var quotedMirrors = [for container in deleteInMirrors: '\'${container}\'']
var inMirrors = join(quotedMirrors, ', ')

resource appOnMirrors 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(deleteInMirrors)) {
  scope: account
  name: guid(account.id, appPrincipalId, mirrorRole.name)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: mirrorRole.id
    conditionVersion: '2.0'
    condition: '((!(ActionMatches{\'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete\'})) OR (@Resource[Microsoft.Storage/storageAccounts/blobServices/containers:name] ForAnyOfAnyValues:StringEquals {${inMirrors}}))'
  }
}

// For people, on the bad day; see roles-source.bicep.
resource restoreRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, suffix, 'restore from backup')
  properties: {
    roleName: 'Snapkeep restore from backup ${suffix}'
    description: 'Reads backups. Writes none: restore --rehydrate and --to-account backup need more, and rarely.'
    type: 'CustomRole'
    assignableScopes: [
      resourceGroup().id
    ]
    permissions: [
      {
        actions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/read' // look at containers
        ]
        notActions: []
        dataActions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read' // backups to restore from
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags/read' // their index tags
        ]
        notDataActions: []
      }
    ]
  }
}

output restoreRoleId string = restoreRole.id
