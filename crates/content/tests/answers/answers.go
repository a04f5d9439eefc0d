// Prints the CIDs that boxo gives to the content of ../known_answers.rs. Run it with
//
//	go mod init answers && go get github.com/ipfs/boxo@v0.39.0 && go mod tidy && go run .
//
// It adds as `ipfs add -r` does: balanced files in chunks of 256 KiB, directories that turn into shards
// where boxo's own dynamic directory says so; CIDv1 with raw leaves, or CIDv0 without.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"sort"
	"strings"

	chunk "github.com/ipfs/boxo/chunker"
	dag "github.com/ipfs/boxo/ipld/merkledag"
	mdtest "github.com/ipfs/boxo/ipld/merkledag/test"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	cid "github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/spaolacci/murmur3"
)

var ctx = context.Background()

type adder struct {
	service ipld.DAGService
	builder cid.Builder
	raw     bool
}

func newAdder(version int) adder {
	prefix, err := dag.PrefixForCidVersion(version)
	check(err)
	return adder{mdtest.Mock(), prefix, version == 1}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func (a adder) file(content io.Reader, chunkBytes int64, links int) ipld.Node {
	params := helpers.DagBuilderParams{Maxlinks: links, RawLeaves: a.raw, CidBuilder: a.builder, Dagserv: a.service}
	builder, err := params.New(chunk.NewSizeSplitter(content, chunkBytes))
	check(err)
	node, err := balanced.Layout(builder)
	check(err)
	return node
}

func (a adder) bytes(content []byte) ipld.Node {
	return a.file(bytes.NewReader(content), 256*1024, helpers.DefaultLinksPerBlock)
}

func (a adder) link(target string) ipld.Node {
	data, err := unixfs.SymlinkData(target)
	check(err)
	node := dag.NodeWithData(data)
	check(node.SetCidBuilder(a.builder))
	check(a.service.Add(ctx, node))
	return node
}

func (a adder) directory(entries map[string]ipld.Node) ipld.Node {
	directory, err := uio.NewDirectory(a.service, uio.WithCidBuilder(a.builder))
	check(err)
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		check(directory.AddChild(ctx, name, entries[name]))
	}
	node, err := directory.GetNode()
	check(err)
	check(a.service.Add(ctx, node))
	return node
}

// pattern is xorshift64, little-endian.
func pattern(count int) []byte {
	state := uint64(0x9E3779B97F4A7C15)
	out := make([]byte, 0, count+8)
	for len(out) < count {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		out = binary.LittleEndian.AppendUint64(out, state)
	}
	return out[:count]
}

type entries = map[string]ipld.Node

// crowded is a directory whose names and CIDs come to `over` bytes more than 256 KiB: 64 bytes an entry.
func (a adder) crowded(over int) ipld.Node {
	all := entries{}
	empty := a.bytes(nil)
	nameBytes := 64 - empty.Cid().ByteLen()
	for n := range 4095 {
		all[fmt.Sprintf("f%0*d", nameBytes-1, n)] = empty
	}
	all[strings.Repeat("z", nameBytes+over)] = empty
	return a.directory(entries{"usr": a.directory(all)})
}

// numbered is a directory of many small files.
func (a adder) numbered(count int, name string) ipld.Node {
	all := entries{}
	for n := range count {
		all[fmt.Sprintf(name, n)] = a.bytes([]byte(fmt.Sprintf("%d\n", n)))
	}
	return a.directory(entries{"usr": a.directory(all)})
}

// colliding is a sharded directory that has names of one hash prefix.
func (a adder) colliding(names []string) ipld.Node {
	all := entries{}
	empty := a.bytes(nil)
	for n := range 4095 {
		all[fmt.Sprintf("f%027d", n)] = empty
	}
	for _, name := range names {
		all[name] = a.bytes([]byte(name))
	}
	// A sharded directory in a sharded directory.
	all["inner"] = a.numbered(10000, "entry-%05d")
	return a.directory(entries{"usr": a.directory(all)})
}

// tree is make_tree of known_answers.rs.
func (a adder) tree() ipld.Node {
	const chunk = 256 * 1024
	return a.directory(entries{
		"boot": a.directory(entries{"main.wasm": a.bytes([]byte("\x00asm\x0d\x00\x01\x00"))}),
		"usr": a.directory(entries{"share": a.directory(entries{
			"a.txt": a.bytes([]byte("a\n")),
			"a":     a.bytes([]byte("just a\n")),
			"a-b":   a.bytes(nil),
			"deep": a.directory(entries{"er": a.directory(entries{
				"big": a.bytes(pattern(3*chunk + 7)),
			})}),
		})}),
		"var": a.directory(entries{}),
		"etc": a.directory(entries{
			"naïve": a.directory(entries{
				"日本語.txt": a.bytes([]byte("こんにちは\n")),
				"🦀":       a.bytes([]byte("crab\n")),
			}),
			".hidden": a.bytes([]byte("h\n")),
			"link":    a.link("../usr/share/a.txt"),
		}),
	})
}

// deepest gives pairs of names whose hashes share their first three, four and five bytes.
func deepest() []string {
	type hashed struct {
		hash uint64
		n    int
	}
	const count = 1 << 22
	all := make([]hashed, count)
	for n := range all {
		all[n] = hashed{murmur3.Sum64([]byte(fmt.Sprintf("collide-%d", n))), n}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].hash < all[j].hash })
	best := map[int][2]int{}
	for i := range count - 1 {
		shared := bits.LeadingZeros64(all[i].hash^all[i+1].hash) / 8
		if _, ok := best[shared]; !ok {
			best[shared] = [2]int{all[i].n, all[i+1].n}
		}
	}
	var names []string
	for shared := 3; shared <= 8; shared++ {
		if pair, ok := best[shared]; ok {
			names = append(names, fmt.Sprintf("collide-%d", pair[0]), fmt.Sprintf("collide-%d", pair[1]))
		}
	}
	return names
}

func main() {
	const chunk = 256 * 1024
	all := pattern(45 * 1024 * 1024)
	for version := range 2 {
		a := newAdder(version)
		say := func(what string, node ipld.Node) { fmt.Printf("v%d %s %s\n", version, what, node.Cid()) }
		for _, count := range []int{0, 1, chunk, chunk + 1, 174*chunk + 1, 45 * 1024 * 1024} {
			say(fmt.Sprint("file of ", count), a.bytes(all[:count]))
		}
		for _, count := range []int{0, 1, 4, 5, 12, 13, 36, 37, 108, 109, 325} {
			say(fmt.Sprint("file in small chunks of ", count), a.file(bytes.NewReader(all[:count]), 4, 3))
		}
		say("tree", a.tree())
		say("empty", a.directory(entries{}))
		say("at the threshold", a.crowded(0))
		say("over the threshold", a.crowded(1))
		say("10000 entries", a.numbered(10000, "entry-%05d"))
		say("unicode", a.numbered(5000, "%04d é日本語🦀"))
		say("colliding", a.colliding(deepest()))
	}
	names := deepest()
	fmt.Println(names)
	for _, name := range append(names, "", "a", "0123456789abcdef", "日本語🦀 and more than a block") {
		fmt.Printf("murmur3 %q %016x\n", name, murmur3.Sum64([]byte(name)))
	}
}
