// SPDX-License-Identifier: Apache-2.0

package configdir

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"runtime"
)

// bundles are where systems keep their CAs in one file, in the order of Go's
// crypto/x509 (root_linux.go, root_bsd.go, root_darwin.go's neighbours).
var bundles = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/pki/tls/cacert.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/cert.pem",
	"/usr/local/etc/ssl/cert.pem",
}

// maxBundle bounds a bundle of CAs.
const maxBundle = 16 << 20

// bundle writes ca.pem: the system's CAs and the given one. SSL_CERT_FILE
// replaces the system's file, so that ours alone would end all other TLS.
func (w *jobWriter) bundle(r *Report) error {
	if w.s.CAFile == "" {
		return ignoreAbsent(w.job.Remove(bundleName))
	}
	added, err := readCertificates(w.s.CAFile)
	if err != nil {
		return err
	}
	base, path, err := w.s.Caller.systemBundle()
	if err != nil {
		return err
	}
	if path == "" {
		r.Notes = append(r.Notes, fmt.Sprintf("no bundle of CAs was found on this system: SSL_CERT_FILE holds %s alone", clean(w.s.CAFile)))
	}
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		r.Notes = append(r.Notes, "Go programs use the system's certificate store here, not SSL_CERT_FILE: add the CA there too")
	}
	if len(base) > 0 && base[len(base)-1] != '\n' {
		base = append(base, '\n')
	}
	r.CABundle = filepath.Join(w.root, bundleName)
	return w.put(w.job, bundleName, append(base, added...))
}

// systemBundle is the file that is in effect for the caller: SSL_CERT_FILE, or
// the first of the system's that exists.
func (c Caller) systemBundle() (data []byte, path string, err error) {
	if p := c.env("SSL_CERT_FILE"); p != "" {
		data, _, err := readRegular(p, maxBundle, 0)
		if !absent(err) {
			return data, p, plain(p, err)
		}
	}
	for _, p := range bundles {
		p = c.system(p)
		data, _, err := readRegular(p, maxBundle, 0)
		if absent(err) {
			continue
		}
		return data, p, plain(p, err)
	}
	return nil, "", nil
}

// readCertificates reads the certificates of a PEM file and nothing else: a key
// lying beside them must not travel.
func readCertificates(path string) ([]byte, error) {
	data, _, err := readRegular(path, maxBundle, 0)
	if err != nil {
		return nil, plain(path, err)
	}
	var out bytes.Buffer
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, fmt.Errorf("%s holds a certificate that cannot be read: %w", clean(path), err)
		}
		if err := pem.Encode(&out, &pem.Block{Type: block.Type, Bytes: block.Bytes}); err != nil {
			return nil, err
		}
	}
	if out.Len() == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", clean(path))
	}
	return out.Bytes(), nil
}
