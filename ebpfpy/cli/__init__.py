"""The command `ebpfpy`: one file per sub-command, imported when it is asked for."""
