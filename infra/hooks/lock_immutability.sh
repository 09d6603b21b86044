#!/bin/sh
# Locks the write-once policies of the backup containers, which no template can do. Does nothing unless lockImmutability
# was set: nobody can undo a lock, nor shorten its days. azd runs it after provisioning, with what that gave. Which are
# locked is noted in azd's environment, so that the template leaves them alone from then on: they take no second write.
set -eu

if [ -z "${SNAPKEEP_CONTAINERS_TO_LOCK:-}" ]; then
  exit 0
fi

locked=${DEPLOY_LOCKED_CONTAINERS:-}

echo "$SNAPKEEP_CONTAINERS_TO_LOCK" | tr ',' '\n' | while read -r container; do
  policy() {
    az storage container immutability-policy "$@" --subscription "$SNAPKEEP_BACKUP_SUBSCRIPTION" \
      --resource-group "$SNAPKEEP_BACKUP_GROUP" --account-name "$SNAPKEEP_BACKUP_ACCOUNT" --container-name "$container" </dev/null
  }
  # Releases of the Azure CLI differ in where they show it.
  state=$(policy show --query "state || properties.state" --output tsv)
  if [ "$state" = Locked ]; then
    echo "$container: its policy is locked already"
  else
    policy lock --if-match "$(policy show --query etag --output tsv)" --output none
    echo "$container: its policy is locked, for good"
  fi
  locked="${locked:+$locked,}$container"
  azd env set DEPLOY_LOCKED_CONTAINERS "$locked" </dev/null
done
