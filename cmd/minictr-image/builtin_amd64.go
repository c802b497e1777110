package main

import "embed"

// baseDir is where baseFiles has the layer of minictr/base.
const baseDir = "base/amd64"

//go:embed base/amd64
var baseFiles embed.FS
