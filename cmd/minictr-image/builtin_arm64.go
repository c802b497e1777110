package main

import "embed"

// baseDir is where baseFiles has the layer of minictr/base.
const baseDir = "base/arm64"

//go:embed base/arm64
var baseFiles embed.FS
