"""One thin file a stage: read parameters and inputs, call a room, write outputs."""
