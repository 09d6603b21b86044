// A private endpoint for each service that the app, its callers or the factory reach, with its name in the zone.

@description('Region.')
param location string

@description('Tags of everything that is created.')
param tags object

@description('Subnet of the endpoints.')
param subnetId string

@description('Resource ids of the DNS zones, by what they are for.')
param zoneIds object

@description('The platform\'s own account.')
param hostAccountId string

@description('The protected account; empty where another tenant has it.')
param sourceAccountId string

@description('The account of the backups; empty where another tenant has it.')
param backupAccountId string

@description('Whether the accounts have Data Lake endpoints that are used.')
param dataLake bool

@description('The key vault; empty: there is none.')
param vaultId string

@description('The app.')
param appId string

@description('The factory; empty: there is none.')
param factoryId string

var wanted = [
  {
    name: 'host-blob'
    id: hostAccountId
    kind: 'blob'
  }
  {
    name: 'host-queue'
    id: hostAccountId
    kind: 'queue'
  }
  {
    name: 'host-table'
    id: hostAccountId
    kind: 'table'
  }
  {
    name: 'source-blob'
    id: sourceAccountId
    kind: 'blob'
  }
  {
    name: 'source-dfs'
    id: dataLake ? sourceAccountId : ''
    kind: 'dfs'
  }
  {
    name: 'backup-blob'
    id: backupAccountId
    kind: 'blob'
  }
  {
    name: 'backup-dfs'
    id: dataLake ? backupAccountId : ''
    kind: 'dfs'
  }
  {
    name: 'vault'
    id: vaultId
    kind: 'vault'
  }
  {
    name: 'app'
    id: appId
    kind: 'sites'
  }
  {
    name: 'factory'
    id: factoryId
    kind: 'dataFactory'
  }
]
var targets = filter(wanted, target => !empty(target.id))

resource endpoints 'Microsoft.Network/privateEndpoints@2024-05-01' = [for target in targets: {
  name: 'pe-snapkeep-${target.name}'
  location: location
  tags: tags
  properties: {
    subnet: {
      id: subnetId
    }
    privateLinkServiceConnections: [
      {
        name: target.name
        properties: {
          privateLinkServiceId: target.id
          groupIds: [
            target.kind
          ]
        }
      }
    ]
  }
}]

resource names 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = [for (target, index) in targets: {
  parent: endpoints[index]
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: target.kind
        properties: {
          privateDnsZoneId: zoneIds[target.kind]
        }
      }
    ]
  }
}]
