// Everything that Snapkeep runs on. `azd up` deploys it; docs/deploy.md leads through it.
//
// With the defaults it is a trial: two new storage accounts, public endpoints, a plan that costs nothing while idle.
// A real deployment names its accounts: sourceAccountName and backupAccountName.
targetScope = 'subscription'

@minLength(1)
@maxLength(40)
@description('Name of the environment: part of the names of everything that is created.')
param environmentName string

@minLength(1)
@description('Region of the app; nearest to the source account is best, since copies of some blobs pass through it.')
@metadata({
  azd: {
    type: 'location'
  }
})
param location string

@description('Region of a new backup account. Another one than the source account\'s survives the loss of a region.')
param backupLocation string = location

// The protected account

@maxLength(24)
@description('Storage account that is protected. Empty: a new one is created, for a trial.')
param sourceAccountName string = ''

@description('Resource group of the existing source account. Empty: the one that is deployed into.')
param sourceResourceGroup string = ''

@description('Subscription of the existing source account. Empty: the one that is deployed to.')
param sourceSubscriptionId string = ''

@description('Source account of another tenant: its connection string with a SAS stands in the key vault, as secret source-storage.')
param sourceBySas bool = false

@minValue(0)
@maxValue(3650)
@description('Days after which snapshots in a NEW source account are deleted; 0: never. No lifecycle rule looks whether there is a backup: see docs/deploy.md before setting it. Less than 30 counts as 30.')
param sourceSnapshotDays int = 0

// The backup account

@maxLength(24)
@description('Storage account that keeps the backups. Empty: a new one is created.')
param backupAccountName string = ''

@description('Resource group of the existing backup account. Empty: the one that is deployed into.')
param backupResourceGroup string = ''

@description('Subscription of the existing backup account; one that other people own is best. Empty: the one that is deployed to.')
param backupSubscriptionId string = ''

@description('Backup account of another tenant: its connection string with a SAS stands in the key vault, as secret backup-storage.')
param backupBySas bool = false

@allowed([
  'Standard_LRS'
  'Standard_ZRS'
  'Standard_GRS'
  'Standard_GZRS'
  'Standard_RAGRS'
  'Standard_RAGZRS'
])
@description('Redundancy of a new backup account.')
param backupRedundancy string = 'Standard_ZRS'

@description('Source containers, comma-separated, whose backup containers are created beforehand, so that they have their policy from the first blob on. The app creates others on first need, without one.')
param protectedContainers string = ''

@allowed([
  'none'
  'container'
  'version'
])
@description('Write-once policy of those backup containers: container (WORM of the container) or version (of each blob version, with versioning).')
param immutability string = 'none'

@minValue(1)
@maxValue(146000)
@description('For how many days the policy keeps a backup from being changed or deleted.')
param immutabilityDays int = 30

@description('Locks the policies after deployment. Nobody can undo that, nor shorten the days; the containers stay until the last backup in them has expired.')
param lockImmutability bool = false

@description('Backup containers whose policy is locked, comma-separated. The hook that locks them notes them here: Azure takes no second write of a locked policy.')
param lockedContainers string = ''

@minValue(1)
@maxValue(365)
@description('Days for which a new backup account brings back deleted blobs and containers.')
param backupSoftDeleteDays int = 30

@minValue(0)
@description('Days after its creation that a backup moves to the cool tier of a new backup account; 0: never.')
param backupCoolAfterDays int = 0

@minValue(0)
@description('The same for the cold tier.')
param backupColdAfterDays int = 0

@minValue(0)
@description('The same for the archive tier: a restore from it takes up to 15 hours, and verify cannot read it. Needs a redundancy without zones: Standard_LRS, Standard_GRS or Standard_RAGRS.')
param backupArchiveAfterDays int = 0

@minValue(0)
@description('Days after its creation that a backup is deleted, also the one of a blob that has not changed since: reconcile makes that one again; 0: never.')
param backupExpireAfterDays int = 0

// The app

@allowed([
  'Standard_LRS'
  'Standard_ZRS'
])
@description('Redundancy of the app\'s own account, and of a new source account. A region without zones has Standard_LRS alone.')
param hostRedundancy string = 'Standard_ZRS'

@allowed([
  'flex'
  'premium'
])
@description('flex: Flex Consumption. premium: App Service Premium v3, always on, at a fixed number of instances.')
param plan string = 'flex'

@minValue(0)
@maxValue(20)
@description('Flex: instances that are always ready for backup and protect. 0 costs nothing while idle, at some seconds for the first call.')
param alwaysReadyInstances int = 0

@minValue(1)
@maxValue(1000)
@description('Flex: most instances at once.')
param maximumInstances int = 40

@allowed([
  512
  2048
  4096
])
@description('Flex: memory of an instance, in MB.')
param instanceMemoryMB int = 2048

@allowed([
  'P0v3'
  'P1v3'
  'P2v3'
  'P3v3'
])
@description('Premium: size of an instance.')
param premiumSize string = 'P1v3'

@minValue(1)
@maxValue(30)
@description('Premium: number of instances.')
param premiumInstances int = 1

@description('Accounts with a hierarchical namespace on both sides: sync uses the Data Lake endpoints, and new accounts have that namespace.')
param dataLake bool = false

@description('Lets reconcile restore backups into scratch containers of the backup account and delete those again. That takes the right to delete containers there, which the app has for nothing else. Without it, drills are run by hand: snapkeep drill.')
param drills bool = false

@description('Settings of the app, by their names in README. What is not here, or empty, has its default from settings.json.')
param settings object = {}

// Data Factory that calls protect

@allowed([
  'none'
  'key'
  'identity'
])
@description('The example pipeline that calls protect: key (function key in the key vault) or identity (managed identity, and the key). identity needs protectAudience and protectClientId.')
param ingestion string = 'none'

@description('Application ID URI of the app registration that stands for the app, such as api://snapkeep.')
param protectAudience string = ''

@description('Client id of that app registration.')
param protectClientId string = ''

// Network

@allowed([
  'public'
  'private'
])
@description('private: the app in a virtual network, private endpoints for the accounts, the factory, the vault and the app, and no public network for what is created here.')
param network string = 'public'

@description('Address space of the virtual network: at least a /24.')
param networkAddresses string = '10.71.0.0/24'

// Being heard

@description('Address that alerts are sent to. Empty: they show in the portal alone.')
param alertEmail string = ''

@minValue(1)
@maxValue(168)
@description('The objective: the oldest unprotected version may be this old, in hours.')
param objectiveHours int = 26

@minValue(30)
@maxValue(730)
@description('Days for which logs and metrics are kept.')
param logDays int = 90

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = {
  'azd-env-name': environmentName
}
var names = {
  group: 'rg-${environmentName}'
  app: 'func-snapkeep-${token}'
  plan: 'plan-snapkeep-${token}'
  appIdentity: 'id-snapkeep-app-${token}'
  factoryIdentity: 'id-snapkeep-factory-${token}'
  factory: 'adf-snapkeep-${token}'
  vault: 'kv-snap-${token}'
  hostAccount: 'snaphost${token}'
  sourceAccount: empty(sourceAccountName) ? 'snapsrc${token}' : sourceAccountName
  backupAccount: empty(backupAccountName) ? 'snapbak${token}' : backupAccountName
  workspace: 'log-snapkeep-${token}'
  insights: 'appi-snapkeep-${token}'
  network: 'vnet-snapkeep-${token}'
}
var createSource = empty(sourceAccountName) && !sourceBySas
var createBackup = empty(backupAccountName) && !backupBySas
var sourceGroup = empty(sourceResourceGroup) || createSource ? names.group : sourceResourceGroup
var sourceSubscription = empty(sourceSubscriptionId) || createSource ? subscription().subscriptionId : sourceSubscriptionId
var backupGroup = empty(backupResourceGroup) || createBackup ? names.group : backupResourceGroup
var backupSubscription = empty(backupSubscriptionId) || createBackup ? subscription().subscriptionId : backupSubscriptionId
var private = network == 'private'

// An empty value stands for a setting that the environment of azd does not have.
var given = toObject(filter(items(settings), one => !empty(one.value)), one => one.key, one => one.value)
// Data Factory reaches accounts with its identity, which another tenant's accounts do not know.
var forced = sourceBySas || backupBySas ? { SNAPKEEP_ENGINE: 'server' } : {}
var chosen = union(loadJsonContent('settings.json'), given, forced)
// What the app, too, takes for yes.
var yes = ['true', '1', 'yes', 'on', 't', 'y']
var useFactory = chosen.SNAPKEEP_ENGINE != 'server'
var useVault = sourceBySas || backupBySas || ingestion != 'none'
var deployFactory = useFactory || ingestion != 'none'
var containers = map(filter(split(protectedContainers, ','), name => !empty(trim(name))), name => trim(name))
var syncPairs = filter(split(chosen.SNAPKEEP_SYNC_CONTAINERS, ','), pair => !empty(trim(pair)))
var mirrors = map(syncPairs, pair => contains(pair, ':') ? trim(last(split(pair, ':'))) : '${trim(pair)}bak')

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: names.group
  location: location
  tags: tags
}

module identities 'modules/identities.bicep' = {
  scope: group
  name: 'identities'
  params: {
    location: location
    tags: tags
    appIdentityName: names.appIdentity
    factoryIdentityName: names.factoryIdentity
  }
}

module monitoring 'modules/monitoring.bicep' = {
  scope: group
  name: 'monitoring'
  params: {
    location: location
    tags: tags
    workspaceName: names.workspace
    insightsName: names.insights
    logDays: logDays
    alertEmail: alertEmail
    appPrincipalId: identities.outputs.appPrincipalId
  }
}

module hostStorage 'modules/storage-host.bicep' = {
  scope: group
  name: 'storage-host'
  params: {
    location: location
    tags: tags
    accountName: names.hostAccount
    queueName: chosen.SNAPKEEP_BACKUP_QUEUE
    redundancy: hostRedundancy
    private: private
  }
}

module sourceStorage 'modules/storage-source.bicep' = if (createSource) {
  scope: group
  name: 'storage-source'
  params: {
    location: location
    tags: tags
    accountName: names.sourceAccount
    hierarchicalNamespace: dataLake
    snapshotDays: sourceSnapshotDays
    redundancy: hostRedundancy
    private: private
  }
}

module backupStorage 'modules/storage-backup.bicep' = if (createBackup) {
  scope: group
  name: 'storage-backup'
  params: {
    location: backupLocation
    tags: tags
    accountName: names.backupAccount
    redundancy: backupRedundancy
    hierarchicalNamespace: dataLake
    softDeleteDays: backupSoftDeleteDays
    coolAfterDays: backupCoolAfterDays
    coldAfterDays: backupColdAfterDays
    archiveAfterDays: backupArchiveAfterDays
    expireAfterDays: backupExpireAfterDays
    sameTenantCopiesOnly: !sourceBySas
    private: private
    workspaceId: monitoring.outputs.workspaceId
  }
}

module backupContainers 'modules/backup-containers.bicep' = if (!backupBySas) {
  scope: resourceGroup(backupSubscription, backupGroup)
  name: 'backup-containers-${token}'
  params: {
    accountName: names.backupAccount
    sourceContainers: containers
    immutability: immutability
    immutabilityDays: immutabilityDays
    locked: split(lockedContainers, ',')
  }
  dependsOn: [
    backupStorage
  ]
}

module hostRoles 'modules/roles-host.bicep' = {
  scope: group
  name: 'roles-host'
  params: {
    suffix: token
    accountName: hostStorage.outputs.accountName
    appPrincipalId: identities.outputs.appPrincipalId
  }
}

module sourceRoles 'modules/roles-source.bicep' = if (!sourceBySas) {
  scope: resourceGroup(sourceSubscription, sourceGroup)
  name: 'roles-source-${token}'
  params: {
    suffix: token
    accountName: names.sourceAccount
    appPrincipalId: identities.outputs.appPrincipalId
    factoryPrincipalId: identities.outputs.factoryPrincipalId
    leases: contains(yes, toLower(trim(chosen.SNAPKEEP_USE_LEASE)))
    factory: deployFactory
  }
  dependsOn: [
    sourceStorage
  ]
}

module backupRoles 'modules/roles-backup.bicep' = if (!backupBySas) {
  scope: resourceGroup(backupSubscription, backupGroup)
  name: 'roles-backup-${token}'
  params: {
    suffix: token
    accountName: names.backupAccount
    appPrincipalId: identities.outputs.appPrincipalId
    factoryPrincipalId: identities.outputs.factoryPrincipalId
    factory: deployFactory
    drills: drills
    deleteInMirrors: contains(yes, toLower(trim(chosen.SNAPKEEP_SYNC_DELETE))) ? mirrors : []
  }
  dependsOn: [
    backupContainers
  ]
}

// It cannot be purged, so that its name stays taken for 90 days after `azd down`: a trial has none.
module vault 'modules/key-vault.bicep' = if (useVault) {
  scope: group
  name: 'key-vault'
  params: {
    location: location
    tags: tags
    vaultName: names.vault
    private: private
    workspaceId: monitoring.outputs.workspaceId
    readers: concat(
      sourceBySas || backupBySas ? [identities.outputs.appPrincipalId] : [],
      ingestion == 'none' ? [] : [identities.outputs.factoryPrincipalId]
    )
  }
}

module virtualNetwork 'modules/network.bicep' = if (private) {
  scope: group
  name: 'network'
  params: {
    location: location
    tags: tags
    networkName: names.network
    addresses: networkAddresses
    appAddresses: cidrSubnet(networkAddresses, 26, 0)
    endpointAddresses: cidrSubnet(networkAddresses, 26, 1)
    plan: plan
  }
}

module appSettings 'modules/app-settings.bicep' = {
  scope: group
  name: 'app-settings'
  params: {
    chosen: chosen
    drills: drills
    sourceAccountName: sourceBySas ? '' : names.sourceAccount
    backupAccountName: backupBySas ? '' : names.backupAccount
    hostAccountName: hostStorage.outputs.accountName
    dataLake: dataLake
    vaultName: names.vault
    identityClientId: identities.outputs.appClientId
    insightsConnectionString: monitoring.outputs.insightsConnectionString
    factoryName: useFactory ? names.factory : ''
    factoryResourceGroup: names.group
  }
}

module functionApp 'modules/function-app.bicep' = {
  scope: group
  name: 'function-app'
  params: {
    location: location
    tags: union(tags, { 'azd-service-name': 'snapkeep' })
    appName: names.app
    planName: names.plan
    plan: plan
    alwaysReadyInstances: alwaysReadyInstances
    maximumInstances: maximumInstances
    instanceMemoryMB: instanceMemoryMB
    premiumSize: premiumSize
    premiumInstances: premiumInstances
    identityId: identities.outputs.appIdentityId
    settings: appSettings.outputs.settings
    packageContainerUrl: hostStorage.outputs.packageContainerUrl
    subnetId: private ? virtualNetwork!.outputs.appSubnetId : ''
    private: private
    audience: ingestion == 'identity' ? protectAudience : ''
    clientId: protectClientId
    callerPrincipalId: identities.outputs.factoryPrincipalId
    callerClientId: identities.outputs.factoryClientId
  }
  dependsOn: [
    hostRoles
    sourceRoles
    backupRoles
    vault
  ]
}

module dataFactory 'modules/data-factory.bicep' = if (deployFactory) {
  scope: group
  name: 'data-factory'
  params: {
    location: location
    tags: tags
    factoryName: names.factory
    identityId: identities.outputs.factoryIdentityId
    sourceEndpoint: 'https://${names.sourceAccount}.blob.${environment().suffixes.storage}/'
    backupEndpoint: 'https://${names.backupAccount}.blob.${environment().suffixes.storage}/'
    sourceAccountId: sourceBySas ? '' : resourceId(sourceSubscription, sourceGroup, 'Microsoft.Storage/storageAccounts', names.sourceAccount)
    backupAccountId: backupBySas ? '' : resourceId(backupSubscription, backupGroup, 'Microsoft.Storage/storageAccounts', names.backupAccount)
    ingestion: ingestion
    appUrl: 'https://${functionApp.outputs.hostName}'
    appId: functionApp.outputs.appId
    audience: protectAudience
    vaultUrl: ingestion == 'none' ? '' : vault!.outputs.vaultUrl
    vaultId: ingestion == 'none' ? '' : vault!.outputs.vaultId
    private: private
    workspaceId: monitoring.outputs.workspaceId
  }
  dependsOn: [
    sourceRoles
    backupRoles
  ]
}

module factoryRoles 'modules/roles-factory.bicep' = if (useFactory) {
  scope: group
  name: 'roles-factory'
  params: {
    suffix: token
    factoryName: dataFactory!.outputs.factoryName
    appPrincipalId: identities.outputs.appPrincipalId
  }
}

module privateEndpoints 'modules/private-endpoints.bicep' = if (private) {
  scope: group
  name: 'private-endpoints'
  params: {
    location: location
    tags: tags
    subnetId: virtualNetwork!.outputs.endpointSubnetId
    zoneIds: virtualNetwork!.outputs.zoneIds
    hostAccountId: hostStorage.outputs.accountId
    sourceAccountId: sourceBySas ? '' : resourceId(sourceSubscription, sourceGroup, 'Microsoft.Storage/storageAccounts', names.sourceAccount)
    backupAccountId: backupBySas ? '' : resourceId(backupSubscription, backupGroup, 'Microsoft.Storage/storageAccounts', names.backupAccount)
    dataLake: dataLake
    vaultId: useVault ? vault!.outputs.vaultId : ''
    appId: functionApp.outputs.appId
    factoryId: deployFactory ? dataFactory!.outputs.factoryId : ''
  }
  dependsOn: [
    sourceStorage
    backupStorage
  ]
}

module alerts 'modules/alerts.bicep' = {
  scope: group
  name: 'alerts'
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    actionGroupId: monitoring.outputs.actionGroupId
    poisonQueue: '${chosen.SNAPKEEP_BACKUP_QUEUE}-poison'
    objectiveHours: objectiveHours
    drills: drills
    watchBackups: createBackup
  }
}

module workbook 'modules/workbook.bicep' = {
  scope: group
  name: 'workbook'
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
  }
}

// What azd keeps in its environment, for the hooks in azure.yaml and for whoever looks.

@description('Resource group of the app.')
output AZURE_RESOURCE_GROUP string = names.group

@description('Name of the Functions app.')
output SNAPKEEP_APP_NAME string = functionApp.outputs.appName

@description('Address of the Functions app.')
output SNAPKEEP_APP_URL string = 'https://${functionApp.outputs.hostName}'

@description('The protected account; empty where it is reached with a SAS.')
output SNAPKEEP_SOURCE_ACCOUNT string = sourceBySas ? '' : names.sourceAccount

@description('The account of the backups; empty where it is reached with a SAS.')
output SNAPKEEP_BACKUP_ACCOUNT string = backupBySas ? '' : names.backupAccount

@description('Subscription of the account of the backups.')
output SNAPKEEP_BACKUP_SUBSCRIPTION string = backupSubscription

@description('Resource group of the account of the backups.')
output SNAPKEEP_BACKUP_GROUP string = backupGroup

@description('Account of the request queue and of the container snapkeep-state.')
output SNAPKEEP_HOST_ACCOUNT string = hostStorage.outputs.accountName

@description('Containers whose policy the hook after provisioning locks, separated by commas; empty for none.')
output SNAPKEEP_CONTAINERS_TO_LOCK string = lockImmutability && immutability != 'none' && !backupBySas ? join(backupContainers!.outputs.containerNames, ',') : ''

@description('Vault into which the hook after deployment puts the function key; empty where nobody calls with it.')
output SNAPKEEP_KEY_VAULT string = ingestion == 'none' ? '' : names.vault

@description('Role for those who restore, on the protected account; empty where another tenant has it.')
output SNAPKEEP_RESTORE_ROLE_ON_SOURCE string = sourceBySas ? '' : sourceRoles!.outputs.restoreRoleId

@description('Role for those who restore, on the account of the backups; empty where another tenant has it.')
output SNAPKEEP_RESTORE_ROLE_ON_BACKUP string = backupBySas ? '' : backupRoles!.outputs.restoreRoleId

@description('Client id of the app\'s identity.')
output SNAPKEEP_APP_CLIENT_ID string = identities.outputs.appClientId
