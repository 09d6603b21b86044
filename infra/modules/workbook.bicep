// The workbook that shows coverage; its content is infra/workbook.json.

@description('Region.')
param location string

@description('Tags of everything that is created.')
param tags object

@description('The workspace that it queries.')
param workspaceId string

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'snapkeep workbook')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Snapkeep: what is protected'
    category: 'workbook'
    version: '1.0'
    sourceId: workspaceId
    serializedData: replace(loadTextContent('../workbook.json'), '__WORKSPACE__', workspaceId)
  }
}
