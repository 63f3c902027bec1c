// Package wire turns the bytes of frames into messages and back, in the two dialects
// that Bester's peers speak: classic JSON and native MessagePack.
package wire
