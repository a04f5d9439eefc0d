// A peer for the tests of content: boxo's own importer, gateway and CAR reader, in one process that keeps
// its blocks in memory.
//
// It listens on a free port of the loopback address, prints the address, and ends when its standard
// input does. It reaches out to nobody.
//
//	GET  /ipfs/CID…                      boxo's gateway: blocks, CARs, and files by path
//	POST /add?path=PATH[&cid-version=0]  imports a local file or directory as `ipfs add -r` does; answers its CID
//	POST /car                            takes a CAR; answers its roots, one a line
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	chunker "github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/exchange/offline"
	"github.com/ipfs/boxo/gateway"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/ipld/go-car/v2"
)

type peer struct {
	store blockstore.Blockstore
	dag   ipld.DAGService
}

func main() {
	store := blockstore.NewBlockstore(dssync.MutexWrap(datastore.NewMapDatastore()))
	service := blockservice.New(store, offline.Exchange(store))
	p := &peer{store: store, dag: merkledag.NewDAGService(service)}

	backend, err := gateway.NewBlocksBackend(service)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/ipfs/", gateway.NewHandler(gateway.Config{
		DeserializedResponses: true, NoDNSLink: true, DisableHTMLErrors: true,
	}, backend))
	mux.HandleFunc("POST /add", p.add)
	mux.HandleFunc("POST /car", p.car)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	log.Fatal(http.Serve(listener, mux))
}

func (p *peer) add(w http.ResponseWriter, r *http.Request) {
	prefix := cid.V1Builder{Codec: cid.DagProtobuf, MhType: 0x12}
	var builder cid.Builder = prefix
	rawLeaves := true
	if r.URL.Query().Get("cid-version") == "0" {
		builder, rawLeaves = cid.V0Builder{}, false
	}
	node, err := p.addPath(r.Context(), r.URL.Query().Get("path"), builder, rawLeaves)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, node.Cid())
}

func (p *peer) addPath(ctx context.Context, path string, builder cid.Builder, rawLeaves bool) (ipld.Node, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	switch {
	case info.Mode()&os.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if err != nil {
			return nil, err
		}
		data, err := unixfs.SymlinkData(target)
		if err != nil {
			return nil, err
		}
		node := merkledag.NodeWithData(data)
		if err := node.SetCidBuilder(builder); err != nil {
			return nil, err
		}
		return node, p.dag.Add(ctx, node)
	case info.IsDir():
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		dir, err := uio.NewDirectory(p.dag, uio.WithCidBuilder(builder))
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			child, err := p.addPath(ctx, filepath.Join(path, entry.Name()), builder, rawLeaves)
			if err != nil {
				return nil, err
			}
			if err := dir.AddChild(ctx, entry.Name(), child); err != nil {
				return nil, err
			}
		}
		node, err := dir.GetNode()
		if err != nil {
			return nil, err
		}
		return node, p.dag.Add(ctx, node)
	default:
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		params := helpers.DagBuilderParams{
			Maxlinks:   helpers.DefaultLinksPerBlock,
			RawLeaves:  rawLeaves,
			CidBuilder: builder,
			Dagserv:    p.dag,
		}
		builder, err := params.New(chunker.DefaultSplitter(file))
		if err != nil {
			return nil, err
		}
		return balanced.Layout(builder)
	}
}

func (p *peer) car(w http.ResponseWriter, r *http.Request) {
	reader, err := car.NewBlockReader(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for {
		block, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = p.store.Put(r.Context(), block)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	for _, root := range reader.Roots {
		fmt.Fprintln(w, root)
	}
}
