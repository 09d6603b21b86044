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

// A table comes into being with its first row, and a query of one that is not there fails: it raises nothing, and Azure
// switches a rule off whose query fails for a week. So each is read together with an empty table of its columns.
var metrics = '(union isfuzzy=true AppMetrics, (datatable(TimeGenerated: datetime, Name: string, Sum: real, Properties: dynamic)[]))'
var traces = '(union isfuzzy=true AppTraces, (datatable(TimeGenerated: datetime, Message: string)[]))'
var deletions = '(union isfuzzy=true StorageBlobLogs, (datatable(TimeGenerated: datetime, OperationName: string, StatusCode: string, ObjectKey: string, AuthenticationType: string, RequesterObjectId: string, CallerIpAddress: string, UserAgentHeader: string)[]))'

// A gauge comes once, when it is measured: its last value of two days stands (Azure looks no further back).
var rules = [
  {
    name: 'no-complete-reconcile'
    severity: 1
    every: 'PT1H'
    over: 'P2D'
    enabled: true
    summary: 'No reconciliation has come to its end in 26 hours: nobody knows what is protected.'
    // Without any row there is no last one, and that raises it, too.
    query: '''
__METRICS__
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
__METRICS__
| where Name == 'snapkeep.versions.unprotected.age'
| summarize arg_max(TimeGenerated, Sum) by Container = tostring(Properties['container'])
| where Sum > __HOURS__ * 3600
''', '__HOURS__', string(objectiveHours))
  }
  {
    name: 'poison-messages'
    severity: 2
    every: 'PT15M'
    over: 'P2D'
    enabled: true
    summary: 'A request for backups was given up on.'
    // The queue's own length stands until it is empty; the other two are quicker.
    query: replace('''
union
  (__METRICS__
  | where Name == 'snapkeep.queue.messages' and tostring(Properties['queue']) == 'poison'
  | summarize arg_max(TimeGenerated, Sum)
  | where Sum > 0
  | project What = strcat(Sum, ' in the poison queue')),
  (__METRICS__
  | where TimeGenerated > ago(1h)
  | where Name == 'snapkeep.copies' and tostring(Properties['outcome']) == 'failed' and Sum > 0
  | project What = strcat(Sum, ' given up on in ', tostring(Properties['container']))),
  (__TRACES__
  | where TimeGenerated > ago(1h)
  | where Message has '__QUEUE__' and Message has 'MaxDequeueCount'
  | project What = Message)
| distinct What
''', '__QUEUE__', poisonQueue)
  }
  {
    name: 'queue-not-drained'
    severity: 2
    every: 'PT30M'
    over: 'P2D'
    enabled: true
    summary: 'The oldest request has waited for more than six hours.'
    query: '''
__METRICS__
| where Name == 'snapkeep.queue.age' and tostring(Properties['queue']) == 'requests'
| summarize arg_max(TimeGenerated, Sum)
| where Sum > 6 * 3600
'''
  }
  {
    name: 'sync-failed'
    severity: 2
    every: 'PT1H'
    over: 'P2D'
    enabled: true
    summary: 'A mirror is not what its source is, or none was made in 26 hours.'
    // Without any row there is no last one, and that raises it, too.
    query: '''
__METRICS__
| where Name == 'snapkeep.runs' and tostring(Properties['function']) == 'sync'
| where tostring(Properties['outcome']) in ('complete', 'failed')
| summarize arg_max(TimeGenerated, Properties)
| where isnull(TimeGenerated) or TimeGenerated < ago(26h) or tostring(Properties['outcome']) != 'complete'
'''
  }
  {
    name: 'unusual-changes'
    severity: 0
    every: 'PT15M'
    over: 'P2D'
    enabled: true
    summary: 'An unusual share of a container changed or was deleted at once: it may be an attack.'
    query: '''
__METRICS__
| where Name == 'snapkeep.alarms'
| summarize arg_max(TimeGenerated, Sum) by Container = tostring(Properties['container'])
| where Sum > 0
'''
  }
  {
    name: 'sas-expiry'
    severity: 2
    every: 'PT6H'
    over: 'P2D'
    enabled: true
    summary: 'A SAS ends within 14 days.'
    query: '''
__METRICS__
| where Name == 'snapkeep.sas.remaining'
| summarize arg_max(TimeGenerated, Sum) by Connection = tostring(Properties['connection'])
| where Sum < 14 * 86400
'''
  }
  {
    name: 'verify-failed'
    severity: 1
    every: 'PT1H'
    over: 'P2D'
    enabled: true
    summary: 'A backup is not what it must be.'
    query: '''
__METRICS__
| where Name == 'snapkeep.proofs' and tostring(Properties['proof']) == 'verify'
| where tostring(Properties['outcome']) == 'bad'
| summarize arg_max(TimeGenerated, Sum)
| where Sum > 0
'''
  }
  {
    name: 'drill-failed'
    severity: 1
    every: 'PT1H'
    over: 'P2D'
    enabled: drills
    summary: 'A backup could not be restored as it was.'
    query: '''
__METRICS__
| where Name == 'snapkeep.proofs' and tostring(Properties['proof']) == 'drill'
| where tostring(Properties['outcome']) == 'bad'
| summarize arg_max(TimeGenerated, Sum)
| where Sum > 0
'''
  }
  {
    name: 'backups-deleted'
    severity: 1
    every: 'PT15M'
    over: 'PT1H'
    enabled: watchBackups
    summary: 'Somebody deleted something from the account of the backups.'
    // Lifecycle policies come without an identity, under a name that a SAS could come under as well.
    query: '''
__DELETIONS__
| where OperationName startswith 'Delete' and toint(StatusCode) between (200 .. 299)
| extend Container = tostring(split(trim('"', ObjectKey), '/')[2])
| where Container != 'snapkeep-staging' and Container !startswith 'snapkeep-drill-'
| where isnotempty(RequesterObjectId) or AuthenticationType has 'SAS' or not(UserAgentHeader has_any ('ObjectLifeCycleScanner', 'OLCMScanner'))
| summarize Deletions = count() by Container, RequesterObjectId, CallerIpAddress
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
    skipQueryValidation: true // a new workspace has no table yet
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: replace(replace(replace(rule.query, '__METRICS__', metrics), '__TRACES__', traces), '__DELETIONS__', deletions)
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
