// The factory with the very definitions that the local stand-in executes (infra/datafactory). Only what is a
// placeholder there is filled in here: addresses, the identity, and the integration runtime.

@description('Region.')
param location string

@description('Tags of everything that is created.')
param tags object

@description('Name of the factory.')
param factoryName string

@description('Resource id of the factory\'s identity.')
param identityId string

@description('Blob endpoint of the protected account.')
param sourceEndpoint string

@description('Blob endpoint of the account of the backups.')
param backupEndpoint string

@description('Resource id of the protected account; empty where another tenant has it.')
param sourceAccountId string

@description('Resource id of the account of the backups; empty where another tenant has it.')
param backupAccountId string

@allowed([
  'none'
  'key'
  'identity'
])
@description('Whether the example pipeline is deployed, and how it calls the app.')
param ingestion string

@description('Address of the app.')
param appUrl string

@description('Resource id of the app.')
param appId string

@description('Who a token for the app is issued for.')
param audience string

@description('Address of the key vault; empty without the example.')
param vaultUrl string

@description('Resource id of the key vault; empty without the example.')
param vaultId string

@description('Whether everything is reached through private endpoints alone.')
param private bool

@description('Workspace for logs of runs.')
param workspaceId string

var sourceStorage = loadJsonContent('../datafactory/linkedService/SourceStorage.json')
var backupStorage = loadJsonContent('../datafactory/linkedService/BackupStorage.json')
var keyVault = loadJsonContent('../datafactory/linkedService/KeyVault.json')
var snapkeepApp = loadJsonContent('../datafactory/linkedService/SnapkeepApp.json')
var sourceBlob = loadJsonContent('../datafactory/dataset/source_blob.json')
var stagedBlob = loadJsonContent('../datafactory/dataset/staged_blob.json')
var backupBlobs = loadJsonContent('../datafactory/pipeline/backup_blobs.json')
var ingestAndProtect = loadJsonContent('../datafactory/pipeline/ingest_and_protect.json')
var factoryIdentity = loadJsonContent('../datafactory/credential/factory_identity.json')

var examples = ingestion != 'none'
var runtimeName = 'SnapkeepRuntime'
var connectVia = {
  connectVia: {
    referenceName: runtimeName
    type: 'IntegrationRuntimeReference'
  }
}
var viaRuntime = private ? connectVia : {}

resource factory 'Microsoft.DataFactory/factories@2018-06-01' = {
  name: factoryName
  location: location
  tags: tags
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    publicNetworkAccess: private ? 'Disabled' : 'Enabled'
  }
}

resource credential 'Microsoft.DataFactory/factories/credentials@2018-06-01' = {
  parent: factory
  name: factoryIdentity.name
  properties: union(factoryIdentity.properties, {
    typeProperties: {
      resourceId: identityId
    }
  })
}

// Copies run in the factory's own network, whose endpoints the owners of the accounts approve once (docs/deploy.md).
resource managedNetwork 'Microsoft.DataFactory/factories/managedVirtualNetworks@2018-06-01' = if (private) {
  parent: factory
  name: 'default'
  properties: {}
}

var wanted = [
  {
    name: 'source'
    id: sourceAccountId
    group: 'blob'
  }
  {
    name: 'backup'
    id: backupAccountId
    group: 'blob'
  }
  {
    name: 'vault'
    id: examples ? vaultId : ''
    group: 'vault'
  }
  {
    name: 'app'
    id: examples ? appId : ''
    group: 'sites'
  }
]

var targets = filter(private ? wanted : [], target => !empty(target.id))

resource managedEndpoints 'Microsoft.DataFactory/factories/managedVirtualNetworks/managedPrivateEndpoints@2018-06-01' = [for target in targets: {
  parent: managedNetwork
  name: target.name
  properties: {
    privateLinkResourceId: target.id
    groupId: target.group
  }
}]

resource runtime 'Microsoft.DataFactory/factories/integrationRuntimes@2018-06-01' = if (private) {
  parent: factory
  name: runtimeName
  properties: {
    type: 'Managed'
    managedVirtualNetwork: {
      referenceName: 'default'
      type: 'ManagedVirtualNetworkReference'
    }
    typeProperties: {
      computeProperties: {
        location: 'AutoResolve'
      }
    }
  }
  dependsOn: [
    managedNetwork
  ]
}

resource sourceService 'Microsoft.DataFactory/factories/linkedservices@2018-06-01' = {
  parent: factory
  name: sourceStorage.name
  properties: union(sourceStorage.properties, viaRuntime, {
    typeProperties: {
      serviceEndpoint: sourceEndpoint
    }
  })
  dependsOn: [
    credential
    runtime
  ]
}

resource backupService 'Microsoft.DataFactory/factories/linkedservices@2018-06-01' = {
  parent: factory
  name: backupStorage.name
  properties: union(backupStorage.properties, viaRuntime, {
    typeProperties: {
      serviceEndpoint: backupEndpoint
    }
  })
  dependsOn: [
    credential
    runtime
  ]
}

resource vaultService 'Microsoft.DataFactory/factories/linkedservices@2018-06-01' = if (examples) {
  parent: factory
  name: keyVault.name
  properties: union(keyVault.properties, viaRuntime, {
    typeProperties: {
      baseUrl: vaultUrl
    }
  })
  dependsOn: [
    credential
    runtime
  ]
}

var calledWithKey = {
  type: snapkeepApp.properties.type
  description: snapkeepApp.properties.description
  annotations: snapkeepApp.properties.annotations
  typeProperties: {
    functionAppUrl: appUrl
    functionKey: snapkeepApp.properties.typeProperties.functionKey
  }
}
var calledWithIdentity = union(snapkeepApp.properties, {
  typeProperties: {
    functionAppUrl: appUrl
    resourceId: audience
  }
})

resource appService 'Microsoft.DataFactory/factories/linkedservices@2018-06-01' = if (examples) {
  parent: factory
  name: snapkeepApp.name
  properties: union(ingestion == 'identity' ? calledWithIdentity : calledWithKey, viaRuntime)
  dependsOn: [
    vaultService
  ]
}

resource sourceDataset 'Microsoft.DataFactory/factories/datasets@2018-06-01' = {
  parent: factory
  name: sourceBlob.name
  properties: sourceBlob.properties
  dependsOn: [
    sourceService
  ]
}

resource stagedDataset 'Microsoft.DataFactory/factories/datasets@2018-06-01' = {
  parent: factory
  name: stagedBlob.name
  properties: stagedBlob.properties
  dependsOn: [
    backupService
  ]
}

resource backupPipeline 'Microsoft.DataFactory/factories/pipelines@2018-06-01' = {
  parent: factory
  name: backupBlobs.name
  properties: backupBlobs.properties
  dependsOn: [
    sourceDataset
    stagedDataset
  ]
}

resource examplePipeline 'Microsoft.DataFactory/factories/pipelines@2018-06-01' = if (examples) {
  parent: factory
  name: ingestAndProtect.name
  properties: ingestAndProtect.properties
  dependsOn: [
    sourceDataset
    appService
  ]
}

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: factory
  name: 'snapkeep'
  properties: {
    workspaceId: workspaceId
    logAnalyticsDestinationType: 'Dedicated'
    logs: [
      {
        category: 'PipelineRuns'
        enabled: true
      }
      {
        category: 'ActivityRuns'
        enabled: true
      }
    ]
  }
}

output factoryName string = factory.name
output factoryId string = factory.id
