"""An example of a service that embeds text: questions in plain language become SQL, phase by phase."""
