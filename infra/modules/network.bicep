// A virtual network of the deployment's own: a subnet for the app, one for private endpoints, and the names' zones.

@description('Region.')
param location string

@description('Tags of everything that is created.')
param tags object

@description('Name of the network.')
param networkName string

@description('Its addresses.')
param addresses string

@description('Those of the app\'s subnet.')
param appAddresses string

@description('Those of the subnet of the private endpoints.')
param endpointAddresses string

@allowed([
  'flex'
  'premium'
])
@description('The app\'s plan, which its subnet is delegated to.')
param plan string

resource appRules 'Microsoft.Network/networkSecurityGroups@2024-05-01' = {
  name: '${networkName}-app'
  location: location
  tags: tags
  properties: {
    securityRules: []
  }
}

resource endpointRules 'Microsoft.Network/networkSecurityGroups@2024-05-01' = {
  name: '${networkName}-endpoints'
  location: location
  tags: tags
  properties: {
    securityRules: []
  }
}

resource virtualNetwork 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: networkName
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        addresses
      ]
    }
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: appAddresses
          networkSecurityGroup: {
            id: appRules.id
          }
          delegations: [
            {
              name: 'functions'
              properties: {
                serviceName: plan == 'flex' ? 'Microsoft.App/environments' : 'Microsoft.Web/serverFarms'
              }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: endpointAddresses
          networkSecurityGroup: {
            id: endpointRules.id
          }
          privateEndpointNetworkPolicies: 'Enabled'
        }
      }
    ]
  }
}

var zoneNames = {
  blob: 'privatelink.blob.${environment().suffixes.storage}'
  queue: 'privatelink.queue.${environment().suffixes.storage}'
  table: 'privatelink.table.${environment().suffixes.storage}'
  dfs: 'privatelink.dfs.${environment().suffixes.storage}'
  sites: 'privatelink.azurewebsites.net'
  vault: 'privatelink.vaultcore.azure.net'
  dataFactory: 'privatelink.datafactory.azure.net'
}

var zoneList = [
  zoneNames.blob
  zoneNames.queue
  zoneNames.table
  zoneNames.dfs
  zoneNames.sites
  zoneNames.vault
  zoneNames.dataFactory
]

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [for zone in zoneList: {
  name: zone
  location: 'global'
  tags: tags
}]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (zone, index) in zoneList: {
  parent: zones[index]
  name: networkName
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: virtualNetwork.id
    }
  }
}]

output appSubnetId string = '${virtualNetwork.id}/subnets/app'
output endpointSubnetId string = '${virtualNetwork.id}/subnets/endpoints'

@description('Resource ids of the zones, by what they are for.')
output zoneIds object = {
  blob: resourceId('Microsoft.Network/privateDnsZones', zoneNames.blob)
  queue: resourceId('Microsoft.Network/privateDnsZones', zoneNames.queue)
  table: resourceId('Microsoft.Network/privateDnsZones', zoneNames.table)
  dfs: resourceId('Microsoft.Network/privateDnsZones', zoneNames.dfs)
  sites: resourceId('Microsoft.Network/privateDnsZones', zoneNames.sites)
  vault: resourceId('Microsoft.Network/privateDnsZones', zoneNames.vault)
  dataFactory: resourceId('Microsoft.Network/privateDnsZones', zoneNames.dataFactory)
}
