#!/bin/sh
# Makes a function key for Data Factory and puts it into the key vault, with the rights of whoever deploys. Does nothing
# where no pipeline calls protect. azd runs it after deployment, when the app knows its keys; each run renews the key.
set -eu

if [ -z "${SNAPKEEP_KEY_VAULT:-}" ]; then
  exit 0
fi

# Never in an argument list or on the screen: others on this machine could read it there.
umask 077
secret=$(mktemp)
trap 'rm -f "$secret"' EXIT

app() {
  az functionapp keys "$@" --subscription "$AZURE_SUBSCRIPTION_ID" --resource-group "$AZURE_RESOURCE_GROUP" --name "$SNAPKEEP_APP_NAME"
}
# Its answer has the key redacted.
app set --key-type functionKeys --key-name datafactory --output none
printf '{"properties": {"value": "%s"}}' "$(app list --query functionKeys.datafactory --output tsv | tr -d '\r\n')" >"$secret"
if grep -q '"value": ""' "$secret"; then
  echo "the app gave no key: see that it runs (azd deploy), and run this again" >&2
  exit 1
fi
# By way of Resource Manager, where whoever may deploy may write a secret, and none may be read.
arm=$(az cloud show --query endpoints.resourceManager --output tsv)
vault="/subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/$AZURE_RESOURCE_GROUP/providers/Microsoft.KeyVault/vaults/$SNAPKEEP_KEY_VAULT"
az rest --method put --url "${arm%/}$vault/secrets/protect-key?api-version=2024-11-01" --body "@$secret" --output none
echo "the key of protect is in the vault $SNAPKEEP_KEY_VAULT, as protect-key"
