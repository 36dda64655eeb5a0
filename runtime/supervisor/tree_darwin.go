package supervisor

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Tree lists the app's processes, parents before children: what descends from
// the guard, and the app's process group, whose orphans go to launchd. One in
// a group of its own whose parent has ended is not found.
func (p *Process) Tree() ([]Proc, error) { return p.tree(), nil }

func (p *Process) tree() []Proc {
	select {
	case <-p.empty:
		return nil // the guard's number may be somebody else's
	default:
	}
	return treeOf(p.guardPID, p.pid)
}

func treeOf(root, group int) []Proc {
	all, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil
	}
	const zombie = 5 // SZOMB
	var tree []Proc
	in := map[int]bool{root: true}
	for grown := true; grown; {
		grown = false
		for i := range all {
			pid, ppid, pgrp := int(all[i].Proc.P_pid), int(all[i].Eproc.Ppid), int(all[i].Eproc.Pgid)
			if in[pid] || pid == os.Getpid() || !in[ppid] && pgrp != group {
				continue
			}
			in[pid], grown = true, true
			if all[i].Proc.P_stat != zombie {
				tree = append(tree, Proc{PID: pid, PPID: ppid, Name: unix.ByteSliceToString(all[i].Proc.P_comm[:])})
			}
		}
	}
	return tree
}

func parentOf(pid int) int {
	one, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return 0
	}
	return int(one.Eproc.Ppid)
}

// ourBinary is the program we are.
func ourBinary() (string, error) { return os.Executable() }

// adoptOrphans does nothing: on macOS orphans go to launchd.
func adoptOrphans() {}

// endOrphans kills what is left of the app's process group. How the app ended
// is not known: launchd has been told.
func endOrphans(app int) (status syscall.WaitStatus, known bool) {
	for _, proc := range treeOf(app, app) {
		_ = syscall.Kill(proc.PID, syscall.SIGKILL) // gone already
	}
	_ = syscall.Kill(app, syscall.SIGKILL) // gone already
	return 0, false
}
