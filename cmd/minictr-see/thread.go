package main

import "runtime"

// stayOnThread keeps the calling goroutine on its thread until the program ends: a
// child that is to die with its parent (PR_SET_PDEATHSIG) dies with the thread that
// made it.
func stayOnThread() { runtime.LockOSThread() }
