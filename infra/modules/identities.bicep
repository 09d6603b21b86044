// One identity per duty: what the app may do, Data Factory may not, and the other way round. Whoever restores is a
// person, with a role that is there to be activated (docs/deploy.md), and no identity of this deployment.

@description('Region.')
param location string

@description('Tags of everything that is created.')
param tags object

@description('Name of the app\'s identity.')
param appIdentityName string

@description('Name of Data Factory\'s identity.')
param factoryIdentityName string

resource appIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: appIdentityName
  location: location
  tags: tags
}

resource factoryIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: factoryIdentityName
  location: location
  tags: tags
}

output appIdentityId string = appIdentity.id
output appPrincipalId string = appIdentity.properties.principalId
output appClientId string = appIdentity.properties.clientId
output factoryIdentityId string = factoryIdentity.id
output factoryPrincipalId string = factoryIdentity.properties.principalId
output factoryClientId string = factoryIdentity.properties.clientId
