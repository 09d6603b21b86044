// What may be done to the protected account. Each right is in shared/decisions/rights.py, with the calls that need it;
// a test compares the two. Nothing else is granted: no keys, no deletion, no change of policies.

@description('Makes the roles\' names this deployment\'s own: they must be unique in the tenant.')
param suffix string

@description('The protected account.')
param accountName string

@description('The app\'s identity.')
param appPrincipalId string

@description('Data Factory\'s identity.')
param factoryPrincipalId string

@description('Whether the app leases blobs while Data Factory copies them.')
param leases bool

@description('Whether Data Factory copies.')
param factory bool

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: accountName
}

var leaseRights = [
  'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write' // take and renew a lease; it would write blobs too
]

resource appRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, suffix, 'app on source')
  properties: {
    roleName: 'Snapkeep app on source ${suffix}'
    description: 'Lists and reads blobs, and adds snapshots.'
    type: 'CustomRole'
    assignableScopes: [
      resourceGroup().id
    ]
    permissions: [
      {
        actions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/read' // list containers, and look whether one is there
        ]
        notActions: []
        dataActions: concat([
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read' // list blobs, look at them, have them copied
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action' // add a snapshot
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags/read' // index tags, which belong to a backup
        ], leases ? leaseRights : [])
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

resource factoryRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (factory) {
  name: guid(resourceGroup().id, suffix, 'factory on source')
  properties: {
    roleName: 'Snapkeep factory on source ${suffix}'
    description: 'Reads blobs.'
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
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read' // read what it copies
        ]
        notDataActions: []
      }
    ]
  }
}

resource factoryAssignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (factory) {
  scope: account
  name: guid(account.id, factoryPrincipalId, factoryRole.name)
  properties: {
    principalId: factoryPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: factoryRole.id
  }
}

// For people, on the bad day. Defined and given to nobody: docs/deploy.md has a group made eligible for it.
resource restoreRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, suffix, 'restore on source')
  properties: {
    roleName: 'Snapkeep restore on source ${suffix}'
    description: 'Writes what is restored. Deletes nothing: restore --delete-newer needs more, and rarely.'
    type: 'CustomRole'
    assignableScopes: [
      resourceGroup().id
    ]
    permissions: [
      {
        actions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/read' // look at containers
          'Microsoft.Storage/storageAccounts/blobServices/containers/write' // make the container that is restored to
        ]
        notActions: []
        dataActions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read' // live blobs and snapshots to restore from
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action' // snapshot a blob before it is overwritten
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write' // write what is restored
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags/read' // compare index tags
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags/write' // restore index tags
        ]
        notDataActions: []
      }
    ]
  }
}

output restoreRoleId string = restoreRole.id
