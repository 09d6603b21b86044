// What the app may do in the factory: have the pipeline run. It can edit nothing there.

@description('Makes the role\'s name this deployment\'s own: it must be unique in the tenant.')
param suffix string

@description('The factory.')
param factoryName string

@description('The app\'s identity.')
param appPrincipalId string

resource factory 'Microsoft.DataFactory/factories@2018-06-01' existing = {
  name: factoryName
}

resource appRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, suffix, 'app on factory')
  properties: {
    roleName: 'Snapkeep app on factory ${suffix}'
    description: 'Starts runs of pipelines, looks at them and cancels them.'
    type: 'CustomRole'
    assignableScopes: [
      resourceGroup().id
    ]
    permissions: [
      {
        actions: [
          'Microsoft.DataFactory/factories/pipelines/createRun/action' // start a run
          'Microsoft.DataFactory/factories/pipelines/read' // doctor compares its parameters
          'Microsoft.DataFactory/factories/pipelineruns/read' // look how a run goes
          'Microsoft.DataFactory/factories/pipelineruns/cancel/action' // end a run that takes too long
          'Microsoft.DataFactory/factories/querypipelineruns/action' // find the run whose start was not answered
          'Microsoft.DataFactory/factories/querypipelineruns/read' // its result
        ]
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
  }
}

resource app 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: factory
  name: guid(factory.id, appPrincipalId, appRole.name)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: appRole.id
  }
}
