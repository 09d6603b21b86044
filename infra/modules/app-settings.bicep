// The app's settings, in one place. A test compares them with what shared/settings.py knows, both ways: a new setting
// goes into settings.json with its default, or here when the deployment decides it.

@description('settings.json with what the environment changes of it.')
param chosen object

@description('Whether the app may restore into scratch containers.')
param drills bool

@description('The protected account; empty: its connection string stands in the vault.')
param sourceAccountName string

@description('The account of the backups; empty: its connection string stands in the vault.')
param backupAccountName string

@description('The platform\'s own account, with the request queue.')
param hostAccountName string

@description('Whether the accounts have Data Lake endpoints that sync uses.')
param dataLake bool

@description('Vault that holds connection strings.')
param vaultName string

@description('Client id of the app\'s identity.')
param identityClientId string

@description('Where telemetry goes.')
param insightsConnectionString string

@description('The factory that copies; empty: none does.')
param factoryName string

@description('Resource group of the factory.')
param factoryResourceGroup string

var suffix = environment().suffixes.storage

var sourceIdentity = {
  SourceStorage__blobServiceUri: 'https://${sourceAccountName}.blob.${suffix}'
  SourceStorage__credential: 'managedidentity'
  SourceStorage__clientId: identityClientId
}
var sourceDataLake = {
  SourceStorage__dfsServiceUri: 'https://${sourceAccountName}.dfs.${suffix}'
}
var sourceSecret = {
  SourceStorage: '@Microsoft.KeyVault(VaultName=${vaultName};SecretName=source-storage)'
}
var backupIdentity = {
  BackupStorage__blobServiceUri: 'https://${backupAccountName}.blob.${suffix}'
  BackupStorage__credential: 'managedidentity'
  BackupStorage__clientId: identityClientId
}
var backupDataLake = {
  BackupStorage__dfsServiceUri: 'https://${backupAccountName}.dfs.${suffix}'
}
var backupSecret = {
  BackupStorage: '@Microsoft.KeyVault(VaultName=${vaultName};SecretName=backup-storage)'
}

// Both belong to the host's account: the queue is part of the app, and is emptied and filled by it alone.
var host = {
  AzureWebJobsStorage__blobServiceUri: 'https://${hostAccountName}.blob.${suffix}'
  AzureWebJobsStorage__queueServiceUri: 'https://${hostAccountName}.queue.${suffix}'
  AzureWebJobsStorage__tableServiceUri: 'https://${hostAccountName}.table.${suffix}'
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  BackupQueue__queueServiceUri: 'https://${hostAccountName}.queue.${suffix}'
  BackupQueue__credential: 'managedidentity'
  BackupQueue__clientId: identityClientId
}

var factory = {
  SNAPKEEP_ADF_SUBSCRIPTION_ID: subscription().subscriptionId
  SNAPKEEP_ADF_RESOURCE_GROUP: factoryResourceGroup
  SNAPKEEP_ADF_FACTORY: factoryName
}

var app = {
  // Brought by the packaging (infra/hooks/bring_azcopy.py).
  AZCOPY_PATH: '/home/site/wwwroot/bin/azcopy'
  SNAPKEEP_DRILL_BLOBS: drills ? chosen.SNAPKEEP_DRILL_BLOBS : '0'
}

var platform = {
  APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  // Which identity is meant where a connection names none, as for Data Factory beside accounts with a SAS.
  AZURE_CLIENT_ID: identityClientId
}

@description('Names and values.')
output settings object = union(
  chosen,
  app,
  host,
  platform,
  empty(sourceAccountName) ? sourceSecret : sourceIdentity,
  empty(backupAccountName) ? backupSecret : backupIdentity,
  dataLake && !empty(sourceAccountName) ? sourceDataLake : {},
  dataLake && !empty(backupAccountName) ? backupDataLake : {},
  empty(factoryName) ? {} : factory
)
