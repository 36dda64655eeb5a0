package sqlite

import "golang.org/x/sys/unix"

// networkFS reports whether a folder is on a network file system, and which.
// What cannot be asked is taken for local.
func networkFS(folder string) (string, bool) {
	var stat unix.Statfs_t
	if unix.Statfs(folder, &stat) != nil {
		return "", false
	}
	names := map[uint32]string{
		unix.NFS_SUPER_MAGIC: "NFS", unix.SMB_SUPER_MAGIC: "SMB", unix.CIFS_SUPER_MAGIC: "SMB", unix.SMB2_SUPER_MAGIC: "SMB",
		unix.V9FS_MAGIC: "9P", unix.AFS_SUPER_MAGIC: "AFS", unix.AFS_FS_MAGIC: "AFS", unix.CEPH_SUPER_MAGIC: "Ceph",
		unix.CODA_SUPER_MAGIC: "Coda", 0x0BD00BD0: "Lustre", 0x786F4256: "VirtualBox", 0x6A656A63: "virtual machine's",
	}
	name, isNetwork := names[uint32(stat.Type)] //nolint:gosec // the kernel's magic numbers have 32 bits
	return name, isNetwork
}
