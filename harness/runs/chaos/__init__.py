"""`harness chaos`: whether a run that is killed, held back and robbed of answers ends like an undisturbed one."""
