// Makes the IPNS names and records of records.txt with boxo, and judges the records that ours makes:
//
//	go mod init answers && go get github.com/ipfs/boxo@v0.39.0 && go mod tidy
//	go run . > records.txt
//	go run . FILE
//
// Each line of the output is a label, a name and bytes in hex; FILE has lines of the same form, which are
// printed with what boxo reads in them. Keys are made of fixed seeds and the clock is not asked, so that the
// output is always the same.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/boxo/path"
	ic "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	mb "github.com/multiformats/go-multibase"
)

const (
	content = "/ipfs/bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
	inside  = content + "/sub dir/日本"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func key(seed byte) (ic.PrivKey, ipns.Name) {
	private, _, err := ic.GenerateEd25519Key(bytes.NewReader(bytes.Repeat([]byte{seed}, 32)))
	check(err)
	id, err := peer.IDFromPrivateKey(private)
	check(err)
	return private, ipns.NameFromPeer(id)
}

func line(label string, name ipns.Name, value []byte) {
	fmt.Printf("%s %s %s\n", label, name, hex.EncodeToString(value))
}

func record(label string, seed byte, value string, sequence uint64, eol time.Time, ttl time.Duration, options ...ipns.Option) {
	private, name := key(seed)
	to, err := path.NewPath(value)
	check(err)
	made, err := ipns.NewRecord(private, to, sequence, eol, ttl, options...)
	check(err)
	encoded, err := ipns.MarshalRecord(made)
	check(err)
	line(label, name, encoded)
}

func main() {
	if len(os.Args) == 2 {
		judge(os.Args[1])
		return
	}
	for _, seed := range []byte{1, 2} {
		private, name := key(seed)
		encoded, err := ic.MarshalPrivateKey(private)
		check(err)
		line("key", name, encoded)
		base32, err := name.Cid().StringOfBase(mb.Base32)
		check(err)
		line("base32", name, []byte(base32))
		line("base58", name, []byte(name.Peer().String()))
		line("routing", name, name.RoutingKey())
	}

	eol := time.Date(2099, 12, 31, 23, 59, 58, 123456789, time.UTC)
	minutes := 5 * time.Minute
	_, second := key(2)
	record("both", 1, content, 1, eol, minutes)
	record("both-path", 1, inside, 1<<40, eol, time.Hour)
	record("both-name", 1, second.AsPath().String()+"/docs", 7, eol, 0)
	record("v2-only", 1, content, 2, eol, minutes, ipns.WithV1Compatibility(false))
	record("zero", 2, content, 0, eol, 0)
	record("embedded", 1, content, 3, eol, minutes, ipns.WithPublicKey(true))
	record("whole-second", 1, content, 4, eol.Truncate(time.Second), minutes)
	record("tenths", 1, content, 4, eol.Truncate(100*time.Millisecond), minutes)
	record("metadata", 1, content, 5, eol, minutes, ipns.WithMetadata(map[string]any{"_note": "hello", "_z": int64(-1), "_b": []byte{1, 2}}))
	record("dnslink", 1, "/ipns/example.org", 6, eol, minutes)
	record("expired", 1, content, 9, time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC), minutes)
}

func judge(file string) {
	open, err := os.Open(file)
	check(err)
	defer open.Close()
	lines := bufio.NewScanner(open)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		name, err := ipns.NameFromString(words[1])
		check(err)
		encoded, err := hex.DecodeString(words[2])
		check(err)
		read, err := ipns.UnmarshalRecord(encoded)
		check(err)
		value, err := read.Value()
		check(err)
		sequence, err := read.Sequence()
		check(err)
		eol, err := read.Validity()
		check(err)
		ttl, err := read.TTL()
		check(err)
		fmt.Println(words[0], ipns.ValidateWithName(read, name), value, sequence, eol.Format(time.RFC3339Nano), ttl)
	}
	check(lines.Err())
}
