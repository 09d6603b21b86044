// Containers that must be there before the app comes: the staging container, to which Data Factory's role is confined,
// and backup containers that have a write-once policy from their first blob on.

@description('The account of the backups.')
param accountName string

@description('Source containers whose backup containers are created here.')
param sourceContainers array

@allowed([
  'none'
  'container'
  'version'
])
@description('Their write-once policy.')
param immutability string

@description('For how many days it holds.')
param immutabilityDays int

@description('Backup containers whose policy is locked.')
param locked array

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: accountName
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' existing = {
  parent: account
  name: 'default'
}

resource staging 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = {
  parent: blobs
  name: 'snapkeep-staging'
}

resource backups 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = [for container in sourceContainers: {
  parent: blobs
  name: '${container}bak'
  properties: {
    immutableStorageWithVersioning: immutability == 'version' ? { enabled: true } : null
  }
}]

// A locked policy takes no second write, not even of what it says already: those are left as they are.
var guarded = immutability == 'none' ? [] : filter(sourceContainers, container => !contains(locked, '${container}bak'))

// Unlocked: it guards like a locked one, and its owners can still lift it. infra/hooks/lock_immutability.sh locks it,
// which no template can do, when lockImmutability says so.
resource policies 'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies@2024-01-01' = [for (container, index) in sourceContainers: if (contains(guarded, container)) {
  parent: backups[index]
  name: 'default'
  properties: {
    immutabilityPeriodSinceCreationInDays: immutabilityDays
    // Append and page blobs are written in pieces: append blobs may go on growing, page blobs need a container without.
    allowProtectedAppendWrites: true
  }
}]

@description('The backup containers that have a policy which is not locked.')
output containerNames array = [for container in guarded: '${container}bak']
