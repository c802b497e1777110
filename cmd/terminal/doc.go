// Package terminal is what stands between a terminal and words that somebody else
// chose. What a container, a process or a link is called is its maker's choice, not
// the reader's: a name must not move the cursor, colour the screen, or read as
// another name. All programs of minictr that print such words print them through it.
package terminal
