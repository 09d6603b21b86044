#!/bin/sh
# Makes a function key for Data Factory and puts it into the key vault, with the rights of whoever deploys. Does nothing
# where no pipeline calls protect. azd runs it after deployment, when the app knows its keys; each run renews the key.
set -eu

if [ -z "${SNAPKEEP_KEY_VAULT:-}" ]; then
  exit 0
fi

# Never in an argument list or on the screen: others on this machine could read it there.
umask 077
key=$(mktemp)
trap 'rm -f "$key"' EXIT

app() {
  az functionapp keys "$@" --subscription "$AZURE_SUBSCRIPTION_ID" --resource-group "$AZURE_RESOURCE_GROUP" --name "$SNAPKEEP_APP_NAME"
}
# Its answer has the key redacted.
app set --key-type functionKeys --key-name datafactory --output none
app list --query functionKeys.datafactory --output tsv | tr -d '\r\n' >"$key"
if [ ! -s "$key" ]; then
  echo "the app gave no key: see that it runs (azd deploy), and run this again" >&2
  exit 1
fi
az keyvault secret set --subscription "$AZURE_SUBSCRIPTION_ID" --vault-name "$SNAPKEEP_KEY_VAULT" --name protect-key --file "$key" --output none
echo "the key of protect is in the vault $SNAPKEEP_KEY_VAULT, as protect-key"
