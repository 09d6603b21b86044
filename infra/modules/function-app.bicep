// The Functions app and its plan. Flex Consumption scales on the request queue and to nothing; App Service Premium v3
// runs always. Elastic Premium is not offered: its content share can be reached with an account key alone.

@description('Region.')
param location string

@description('Tags, among them the one by which azd finds the app.')
param tags object

@description('Name of the app.')
param appName string

@description('Name of its plan.')
param planName string

@allowed([
  'flex'
  'premium'
])
@description('flex or premium.')
param plan string

@description('Flex: instances that are always ready, for protect and for backup each.')
param alwaysReadyInstances int

@description('Flex: most instances at once.')
param maximumInstances int

@description('Flex: memory of an instance.')
param instanceMemoryMB int

@description('Premium: size of an instance.')
param premiumSize string

@description('Premium: number of instances.')
param premiumInstances int

@description('Resource id of the app\'s identity.')
param identityId string

@description('The app\'s settings.')
param settings object

@description('Flex: container that deployments are put into.')
param packageContainerUrl string

@description('Subnet of the app; empty without a virtual network.')
param subnetId string

@description('Whether the app is reached through its private endpoint alone.')
param private bool

@description('Who a token for the app must be issued for; empty: callers need the function key alone.')
param audience string

@description('Client id of the app registration of that audience.')
param clientId string

@description('The identity that may call.')
param callerPrincipalId string

@description('Its client id.')
param callerClientId string

var flex = plan == 'flex'
var pythonVersion = '3.13'

var flexSize = {
  name: 'FC1'
  tier: 'FlexConsumption'
}
var alwaysOnSize = {
  name: premiumSize
  capacity: premiumInstances
}

resource servicePlan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: planName
  location: location
  tags: tags
  kind: flex ? 'functionapp' : 'linux'
  sku: flex ? flexSize : alwaysOnSize
  properties: {
    reserved: true
  }
}

var alwaysReady = [
  {
    name: 'http'
    instanceCount: alwaysReadyInstances
  }
  {
    name: 'function:backup'
    instanceCount: alwaysReadyInstances
  }
]

var flexConfig = {
  deployment: {
    storage: {
      type: 'blobContainer'
      value: packageContainerUrl
      authentication: {
        type: 'UserAssignedIdentity'
        userAssignedIdentityResourceId: identityId
      }
    }
  }
  runtime: {
    name: 'python'
    version: pythonVersion
  }
  scaleAndConcurrency: {
    alwaysReady: alwaysReadyInstances > 0 ? alwaysReady : []
    maximumInstanceCount: maximumInstances
    instanceMemoryMB: instanceMemoryMB
  }
}

// Flex Consumption refuses these, and knows them from functionAppConfig.
var premiumSettings = {
  FUNCTIONS_EXTENSION_VERSION: '~4'
  FUNCTIONS_WORKER_RUNTIME: 'python'
  SCM_DO_BUILD_DURING_DEPLOYMENT: 'true'
  ENABLE_ORYX_BUILD: 'true'
}
var allSettings = flex ? settings : union(settings, premiumSettings)
var settingList = [for one in items(allSettings): {
  name: one.key
  value: string(one.value)
}]

resource app 'Microsoft.Web/sites@2024-04-01' = {
  name: appName
  location: location
  tags: tags
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: servicePlan.id
    httpsOnly: true
    clientAffinityEnabled: false
    publicNetworkAccess: private ? 'Disabled' : 'Enabled'
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: flex ? flexConfig : null
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      http20Enabled: true
      ftpsState: 'Disabled'
      appSettings: settingList
      // What follows has no meaning on Flex Consumption, which refuses some of it.
      alwaysOn: flex ? null : true
      linuxFxVersion: flex ? null : 'PYTHON|${pythonVersion}'
      vnetRouteAllEnabled: flex || empty(subnetId) ? null : true
    }
  }
}

// Deployments come with the deployer's own token: no user name and password opens the app.
resource ftpCredentials 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource scmCredentials 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
}

// The platform asks for a token of the one caller before it lets protect ask for its key. An administrator's calls
// (/admin, which need the master key) and the scale controller's are not callers of protect.
resource authentication 'Microsoft.Web/sites/config@2024-04-01' = if (!empty(audience)) {
  parent: app
  name: 'authsettingsV2'
  properties: {
    platform: {
      enabled: true
    }
    globalValidation: {
      requireAuthentication: true
      unauthenticatedClientAction: 'Return401'
      excludedPaths: [
        '/admin'
        '/admin/*'
      ]
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: clientId
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
        }
        validation: {
          // The second is that of tokens of version 2, which the issuer above gives (docs/deploy.md).
          allowedAudiences: [
            audience
            clientId
          ]
          defaultAuthorizationPolicy: {
            allowedApplications: [
              callerClientId
            ]
            allowedPrincipals: {
              identities: [
                callerPrincipalId
              ]
            }
          }
        }
      }
    }
    login: {
      tokenStore: {
        enabled: false
      }
    }
  }
}

output appName string = app.name
output appId string = app.id
output hostName string = app.properties.defaultHostName
