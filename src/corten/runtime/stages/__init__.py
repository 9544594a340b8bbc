"""The processes of a start, one file each: the monitor's side (launch, join) and the init's."""
