package app

import "syscall"

const msgDontWait = syscall.MSG_DONTWAIT
