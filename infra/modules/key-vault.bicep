// Holds what cannot be an identity: the function key of protect, and connection strings of another tenant's accounts.
// This deployment puts nothing into it; hooks and people do (docs/deploy.md).

@description('Region.')
param location string

@description('Tags of everything that is created.')
param tags object

@description('Name of the vault.')
param vaultName string

@description('Whether it is reached through a private endpoint alone.')
param private bool

@description('Workspace that is told who read what.')
param workspaceId string

@description('Identities that may read secrets.')
param readers array

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: vaultName
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    enablePurgeProtection: true
    softDeleteRetentionInDays: 90
    publicNetworkAccess: private ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: private ? 'Deny' : 'Allow'
    }
  }
}

var secretsUser = '4633458b-17de-408a-b874-0445c86b69e6' // Key Vault Secrets User: reads secrets

resource reading 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for reader in readers: {
  scope: vault
  name: guid(vault.id, reader, secretsUser)
  properties: {
    principalId: reader
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', secretsUser)
  }
}]

resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: vault
  name: 'snapkeep'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'AuditEvent'
        enabled: true
      }
    ]
  }
}

output vaultId string = vault.id
output vaultUrl string = vault.properties.vaultUri
