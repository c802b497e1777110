// Package registry speaks the OCI distribution protocol: it finds out which
// hosts an image name means, proves who is asking, and fetches and uploads
// manifests and blobs.
//
//	docker.io/library/alpine:3.20
//	   │  Config      registries.conf: mirrors, other places, insecure, blocked
//	   ▼
//	[mirror.local/hub/library/alpine, index.docker.io/library/alpine]     endpoints, tried in order
//	   │  router      one http.Transport for each host: certs.d, TLS or not, silence is an error
//	   │  authorizer  Credentials (config.json, auth.json, helpers) ─► Basic, or a token of the token server
//	   │  retries     the one table of what is tried again, and how often
//	   ▼
//	Repository: Manifest, Blob, HasBlob, Mount, Upload, PutManifest
//
// Every error of a request is an *Error: one line that names the registry and
// what it did, and a hint where something can be done about it. No error and no
// notice holds a secret.
//
// The protocol is spoken here, and not by go-containerregistry, because that
// retries on three levels at once, cannot resume a blob, refuses token servers
// on private addresses, and tells its errors apart by their text only.
package registry
