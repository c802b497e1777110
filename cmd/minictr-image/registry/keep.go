package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// store keeps the credential where the first file says: with its helper, or in
// the file itself.
func (c Credentials) store(ctx context.Context, server string, credential Credential) (where string, plain bool, err error) {
	file := c.Files[0]
	f, err := readAuthFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", false, fmt.Errorf("credentials in %s: %w", file, err)
	}
	entry := authEntry{}
	helper := f.helperFor(server)
	where = file
	if helper != "" {
		if err := helperStore(ctx, helper, helperKey(server), credential); err != nil {
			return "", false, err
		}
		where = helperPrefix + helper // and an empty entry in the file, as docker login has it
	} else {
		entry.Auth = base64.StdEncoding.EncodeToString([]byte(credential.Username + ":" + credential.Password))
	}
	err = editAuths(file, func(auths map[string]json.RawMessage) (bool, error) {
		removeKeys(auths, server)
		raw, err := json.Marshal(map[string]string{})
		if entry.Auth != "" {
			raw, err = json.Marshal(map[string]string{"auth": entry.Auth})
		}
		auths[helperKey(server)] = raw
		return true, err
	})
	return where, helper == "", err
}

// remove forgets the credential for the registry in the first file and with its
// helper.
func (c Credentials) remove(ctx context.Context, server string) (Logout, error) {
	var out Logout
	file := c.Files[0]
	f, err := readAuthFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return out, fmt.Errorf("credentials in %s: %w", file, err)
	}
	exists := err == nil
	if helper := f.helperFor(server); helper != "" {
		had, err := helperGet(ctx, helper, helperKey(server))
		if err != nil {
			return out, err
		}
		if !had.isEmpty() {
			if err := helperErase(ctx, helper, helperKey(server)); err != nil {
				return out, err
			}
			out.Removed = append(out.Removed, helperPrefix+helper)
		}
	}
	removed := false
	if exists {
		err = editAuths(file, func(auths map[string]json.RawMessage) (bool, error) {
			removed = removeKeys(auths, server)
			return removed, nil
		})
		if err != nil {
			return out, err
		}
	}
	if removed && len(out.Removed) == 0 {
		out.Removed = append(out.Removed, file)
	}
	left, err := Credentials{c.Files[1:]}.find(ctx, newEndpoint(server, false))
	if err == nil && !left.isEmpty() {
		out.Remaining = append(out.Remaining, left.From)
	}
	return out, err
}

// removeKeys removes every entry of the registry, whatever it is called, but not
// those for single repositories.
func removeKeys(auths map[string]json.RawMessage, server string) (removed bool) {
	for key := range auths {
		if registryOf(key) == server {
			delete(auths, key)
			removed = true
		}
	}
	return removed
}

// editAuths changes the entries of the file, and leaves the rest of it as it is.
// A lock on its directory keeps two logins from losing one. The new file takes
// the place of the old one at once: no moment shows half of it.
func editAuths(file string, edit func(map[string]json.RawMessage) (changed bool, err error)) error {
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target // the file of somebody who keeps it elsewhere
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	unlock, err := lockDirectory(dir)
	if err != nil {
		return err
	}
	defer unlock()
	whole, auths, err := readWhole(file)
	if err != nil {
		return fmt.Errorf("credentials in %s: %w", file, err)
	}
	changed, err := edit(auths)
	if err != nil || !changed {
		return err
	}
	if whole["auths"], err = json.Marshal(auths); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(whole, "", "\t")
	if err != nil {
		return err
	}
	return replaceFile(file, append(raw, '\n'))
}

func lockDirectory(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(d.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), d.Close())
	}
	return func() { d.Close() }, nil
}

// readWhole reads the file with all that is not ours. One that does not exist
// is empty.
func readWhole(file string) (whole, auths map[string]json.RawMessage, err error) {
	whole, auths = map[string]json.RawMessage{}, map[string]json.RawMessage{}
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(raw) == 0 {
		return whole, auths, nil
	}
	if err != nil {
		return nil, nil, withoutPath(err)
	}
	if err := json.Unmarshal(raw, &whole); err != nil {
		return nil, nil, jsonError(raw, err)
	}
	if len(whole["auths"]) > 0 {
		if err := json.Unmarshal(whole["auths"], &auths); err != nil {
			return nil, nil, jsonError(raw, err)
		}
	}
	if whole == nil { // the file said null
		whole = map[string]json.RawMessage{}
	}
	if auths == nil {
		auths = map[string]json.RawMessage{}
	}
	return whole, auths, nil
}

// replaceFile writes a file that its owner alone may read, and whose owner is
// the one it had.
func replaceFile(file string, data []byte) (err error) {
	temporary, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temporary.Name()))
		}
	}()
	_, err = temporary.Write(data)
	if err == nil {
		err = keepOwner(temporary, file)
	}
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), file)
}

func keepOwner(temporary *os.File, file string) error {
	st, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	owner, ok := st.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) == os.Geteuid() && int(owner.Gid) == os.Getegid() {
		return nil
	}
	return temporary.Chown(int(owner.Uid), int(owner.Gid))
}
