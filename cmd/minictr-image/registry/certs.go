package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// tlsConfig reads the certificates for the host from the first directory that
// has some: *.crt of authorities, beside those of the machine; *.cert and *.key
// of this client (containers-certs.d(5), and Docker's "Verify repository client
// with certificates").
func (c *Config) tlsConfig(host string, insecure bool) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: insecure}
	if host == hubAPI {
		host = hub
	}
	for _, dir := range c.certs {
		dir = filepath.Join(dir, host)
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if err := addCertificate(config, filepath.Join(dir, e.Name())); err != nil {
				return nil, err
			}
		}
		return config, nil
	}
	return config, nil
}

// addCertificate takes one file of such a directory, by its suffix.
func addCertificate(config *tls.Config, file string) error {
	switch stem := strings.TrimSuffix(file, filepath.Ext(file)); filepath.Ext(file) {
	case ".crt":
		return addAuthority(config, file)
	case ".cert":
		pair, err := tls.LoadX509KeyPair(file, stem+".key")
		if err != nil {
			return fmt.Errorf("client certificate %s with %s: %w", file, filepath.Base(stem)+".key", withoutPath(err))
		}
		config.Certificates = append(config.Certificates, pair)
	case ".key":
		if _, err := os.Stat(stem + ".cert"); err != nil {
			return fmt.Errorf("client key %s: has no %s beside it", file, filepath.Base(stem)+".cert")
		}
	}
	return nil
}

func addAuthority(config *tls.Config, file string) error {
	pem, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if config.RootCAs == nil {
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			return err
		}
	}
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s: holds no certificate in PEM form", file)
	}
	return nil
}

func withoutPath(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
