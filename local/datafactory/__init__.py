"""A stand-in for Azure Data Factory, for the local stack and the tests.

Azure has no emulator for it. This one serves the management API that `azure-mgmt-datafactory` calls and
executes the very definitions that are deployed, against real (local) storage; it refuses whatever it does not
know, so that what passes here is what was understood. `controls` lists what tests can do to it.
"""

from local.datafactory.controls import Controls
from local.datafactory.copying import CopyPoint
from local.datafactory.fields import DefinitionError
from local.datafactory.server import DataFactoryStandIn

__all__ = ["Controls", "CopyPoint", "DataFactoryStandIn", "DefinitionError"]
