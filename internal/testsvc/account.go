package testsvc

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// unprivileged returns the first account of names that this machine has.
func unprivileged(names ...string) (*syscall.Credential, error) {
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("no account among %v", names)
}

// newDir returns a new directory of the account, or of this process if that is
// nil.
func newDir(pattern string, account *syscall.Credential) (string, error) {
	if account == nil {
		return os.MkdirTemp("", pattern)
	}
	dir, err := os.MkdirTemp("/tmp", pattern) // TMPDIR of root may be closed to others
	if err != nil {
		return "", err
	}
	if err := os.Chown(dir, int(account.Uid), int(account.Gid)); err != nil {
		os.RemoveAll(dir)
		return "", err
	}
	return dir, nil
}
