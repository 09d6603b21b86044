// What somebody must hear of. Each query gives one row for each thing that is wrong, and a row raises the alert; what
// each means and what to do is in docs/operations.md under its name.

@description('Region.')
param location string

@description('Tags of everything that is created.')
param tags object

@description('The workspace that is queried.')
param workspaceId string

@description('Who is told.')
param actionGroupId string

@description('Name of the poison queue, as the platform\'s log has it.')
param poisonQueue string

@description('How old the oldest unprotected version may be, in hours.')
param objectiveHours int

@description('Whether drills run in the app.')
param drills bool

@description('Whether deletions in the account of the backups are logged.')
param watchBackups bool

var rules = [
  {
    name: 'no-complete-reconcile'
    severity: 1
    every: 'PT1H'
    over: 'P2D'
    enabled: true
    summary: 'No reconciliation has come to its end in 26 hours: nobody knows what is protected.'
    query: '''
AppMetrics
| where Name == 'snapkeep.runs'
| where tostring(Properties['function']) == 'reconcile' and tostring(Properties['outcome']) == 'complete'
| summarize Last = max(TimeGenerated)
| where isnull(Last) or Last < ago(26h)
'''
  }
  {
    name: 'unprotected-too-long'
    severity: 1
    every: 'PT1H'
    over: 'P2D'
    enabled: true
    summary: 'A version has been without a backup for longer than the objective allows.'
    query: replace('''
AppMetrics
| where Name == 'snapkeep.versions.unprotected.age'
| summarize arg_max(TimeGenerated, Max) by Container = tostring(Properties['container'])
| where Max > __HOURS__ * 3600
''', '__HOURS__', string(objectiveHours))
  }
  {
    name: 'poison-messages'
    severity: 2
    every: 'PT15M'
    over: 'PT1H'
    enabled: true
    summary: 'A request for backups was given up on.'
    query: replace('''
union
  (AppTraces
  | where Message has '__QUEUE__' and Message has 'MaxDequeueCount'
  | project TimeGenerated, What = Message),
  (AppMetrics
  | where Name == 'snapkeep.queue.messages' and tostring(Properties['queue']) == 'poison' and Max > 0
  | project TimeGenerated, What = strcat(Max, ' in the poison queue')),
  (AppMetrics
  | where Name == 'snapkeep.copies' and tostring(Properties['outcome']) == 'failed' and Sum > 0
  | project TimeGenerated, What = strcat(Sum, ' given up on in ', tostring(Properties['container'])))
| summarize Last = max(TimeGenerated) by What
''', '__QUEUE__', poisonQueue)
  }
  {
    name: 'queue-not-drained'
    severity: 2
    every: 'PT30M'
    over: 'PT6H'
    enabled: true
    summary: 'The oldest request has waited for more than six hours.'
    query: '''
AppMetrics
| where Name == 'snapkeep.queue.age' and tostring(Properties['queue']) == 'requests'
| summarize arg_max(TimeGenerated, Max)
| where Max > 6 * 3600
'''
  }
  {
    name: 'sync-failed'
    severity: 2
    every: 'PT1H'
    over: 'PT2H'
    enabled: true
    summary: 'A mirror is not what its source is.'
    query: '''
AppMetrics
| where Name == 'snapkeep.runs' and tostring(Properties['function']) == 'sync'
| where tostring(Properties['outcome']) in ('complete', 'incomplete', 'failed')
| summarize arg_max(TimeGenerated, Properties)
| where tostring(Properties['outcome']) != 'complete'
'''
  }
  {
    name: 'unusual-changes'
    severity: 0
    every: 'PT15M'
    over: 'PT1H'
    enabled: true
    summary: 'An unusual share of a container changed or was deleted at once: it may be an attack.'
    query: '''
AppMetrics
| where Name == 'snapkeep.alarms' and Max > 0
| summarize Last = max(TimeGenerated) by Container = tostring(Properties['container'])
'''
  }
  {
    name: 'sas-expiry'
    severity: 2
    every: 'P1D'
    over: 'P2D'
    enabled: true
    summary: 'A SAS ends within 14 days.'
    query: '''
AppMetrics
| where Name == 'snapkeep.sas.remaining'
| summarize arg_max(TimeGenerated, Min) by Connection = tostring(Properties['connection'])
| where Min < 14 * 86400
'''
  }
  {
    name: 'verify-failed'
    severity: 1
    every: 'PT1H'
    over: 'P1D'
    enabled: true
    summary: 'A backup is not what it must be.'
    query: '''
AppMetrics
| where Name == 'snapkeep.proofs' and tostring(Properties['proof']) == 'verify'
| where tostring(Properties['outcome']) == 'bad' and Sum > 0
| summarize Backups = sum(Sum)
| where Backups > 0
'''
  }
  {
    name: 'drill-failed'
    severity: 1
    every: 'PT1H'
    over: 'P1D'
    enabled: drills
    summary: 'A backup could not be restored as it was.'
    query: '''
AppMetrics
| where Name == 'snapkeep.proofs' and tostring(Properties['proof']) == 'drill'
| where tostring(Properties['outcome']) == 'bad' and Sum > 0
| summarize Backups = sum(Sum)
| where Backups > 0
'''
  }
  {
    name: 'backups-deleted'
    severity: 1
    every: 'PT15M'
    over: 'PT1H'
    enabled: watchBackups
    summary: 'Somebody deleted something from the account of the backups.'
    query: '''
StorageBlobLogs
| where OperationName in ('DeleteBlob', 'DeleteContainer', 'DeleteFile', 'DeleteFilesystem') and StatusCode between (200 .. 299)
| where ObjectKey !has '/snapkeep-staging/' and ObjectKey !has '/snapkeep-drill-'
| where RequesterObjectId != ''
| summarize Deletions = count() by RequesterObjectId, CallerIpAddress
'''
  }
]

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in rules: {
  name: 'snapkeep-${rule.name}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Snapkeep: ${rule.name}'
    description: '${rule.summary} See docs/operations.md, ${rule.name}.'
    severity: rule.severity
    enabled: rule.enabled
    scopes: [
      workspaceId
    ]
    evaluationFrequency: rule.every
    windowSize: rule.over
    // Tables come into being with their first row: a new deployment has none yet.
    skipQueryValidation: true
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: rule.query
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [
        actionGroupId
      ]
    }
  }
}]
