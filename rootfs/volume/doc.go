// Package volume keeps volumes: directories that outlive the containers that
// use them.
//
// A volume is a name and a directory. A container gets the directory as a mount;
// when it ends, what it wrote stays, and the next one finds it. The first use
// fills an empty volume with what the image has at that place, so that a program
// finds the files that it came with.
//
//	volumes/               0700
//	    NAME/              its flock(2): shared by who is about to use the volume,
//	                       exclusive by who removes it
//	        volume.json    what it is (Volume); its flock(2) is held while the
//	                       volume is filled or mounted; never changed
//	        _data/         what containers see
//	        fill/          a copy being made: thrown away when it stays behind
//	        filled/        a whole copy, on its way into _data: carried on with
//	    .new-…  .gone-…    being made, being removed; their flock(2) is held
//
//	volume.go    what a volume is, and the options of Docker's local driver
//	store.go     look up, list, make
//	hold.go      use one: it cannot be removed meanwhile
//	fill.go      the first use; copy.go copies a tree by descriptors
//	remove.go    take one away, and what the killed have left behind
//
// Nothing counts before it is whole, and every change is one rename(2). A process
// may be killed at any moment: the next one throws away what is half made and
// carries on with what is whole.
package volume
