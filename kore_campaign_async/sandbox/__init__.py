"""A local server of the campaign contact-list API, written from the vendor's documents.

It imports nothing else of this package, and spells every field itself: a name that is misspelt in the client
must not pass because both sides share the mistake.
"""

from kore_campaign_async.sandbox.faults import Fault
from kore_campaign_async.sandbox.server import Sandbox
from kore_campaign_async.sandbox.threaded import SandboxThread

__all__ = ["Fault", "Sandbox", "SandboxThread"]
