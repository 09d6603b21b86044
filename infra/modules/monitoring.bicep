// Where logs and metrics go, and who is told.

@description('Region.')
param location string

@description('Tags of everything that is created.')
param tags object

@description('Name of the workspace.')
param workspaceName string

@description('Name of the Application Insights resource.')
param insightsName string

@description('Days for which logs are kept.')
param logDays int

@description('Address that alerts are sent to; empty: none.')
param alertEmail string

@description('The app\'s identity, which sends its telemetry with a token.')
param appPrincipalId string

resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: workspaceName
  location: location
  tags: tags
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: logDays
    features: {
      disableLocalAuth: true
    }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: insightsName
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    // The connection string is in the app's settings; without a token it lets nobody send anything.
    DisableLocalAuth: true
  }
}

var metricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb' // Monitoring Metrics Publisher: sends telemetry

resource publishing 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: insights
  name: guid(insights.id, appPrincipalId, metricsPublisher)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', metricsPublisher)
  }
}

var receivers = [
  {
    name: 'operators'
    emailAddress: alertEmail
    useCommonAlertSchema: true
  }
]

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-snapkeep'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'snapkeep'
    enabled: true
    emailReceivers: empty(alertEmail) ? [] : receivers
  }
}

output workspaceId string = workspace.id
output insightsConnectionString string = insights.properties.ConnectionString
output actionGroupId string = actionGroup.id
