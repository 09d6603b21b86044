// What the app may do in the platform's own account: what the platform needs there, and the request queue.

@description('Makes the role\'s name this deployment\'s own: it must be unique in the tenant.')
param suffix string

@description('The platform\'s own account.')
param accountName string

@description('The app\'s identity.')
param appPrincipalId string

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: accountName
}

var blobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b' // Storage Blob Data Owner: locks, keys, snapkeep-state; the platform asks for it
var tableDataContributor = '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3' // Storage Table Data Contributor: the platform's diagnostic events

resource platform 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for role in [blobDataOwner, tableDataContributor]: {
  scope: account
  name: guid(account.id, appPrincipalId, role)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
  }
}]

resource queueRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, suffix, 'app on queue')
  properties: {
    roleName: 'Snapkeep app on queue ${suffix}'
    description: 'Puts requests for backups, and carries them out.'
    type: 'CustomRole'
    assignableScopes: [
      resourceGroup().id
    ]
    permissions: [
      {
        actions: [
          'Microsoft.Storage/storageAccounts/queueServices/queues/read' // length and age, which scaling and status need
          'Microsoft.Storage/storageAccounts/queueServices/queues/write' // make the queue, or its poison queue, when it is gone
        ]
        notActions: []
        dataActions: [
          'Microsoft.Storage/storageAccounts/queueServices/queues/messages/read' // peek at what waits
          'Microsoft.Storage/storageAccounts/queueServices/queues/messages/add/action' // put a request, or a poison message
          'Microsoft.Storage/storageAccounts/queueServices/queues/messages/process/action' // take a message, and delete it when done
          'Microsoft.Storage/storageAccounts/queueServices/queues/messages/write' // hold a message for longer than ten minutes
        ]
        notDataActions: []
      }
    ]
  }
}

resource queue 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account
  name: guid(account.id, appPrincipalId, queueRole.name)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: queueRole.id
  }
}
