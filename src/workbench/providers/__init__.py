"""Who answers: one protocol, and one file for each way to speak it."""
