// Checks a log of seals with Go's checksum database tools, which know nothing of us: the signed checkpoint
// (x/mod/sumdb/note), each tile and the proof of each leaf (x/mod/sumdb/tlog), and that the log grew from earlier sizes.
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go run benches/seal/sumdb/main.go -log VKEY [-witness VKEY]... FOLDER|URL
package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8
	width  = 1 << height
)

// source is where the files of the log are.
type source string

func (s source) read(name string) ([]byte, error) {
	if !strings.Contains(string(s), "://") {
		return os.ReadFile(filepath.Join(string(s), name))
	}
	answer, err := http.Get(string(s) + "/" + name)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", name, answer.Status)
	}
	return io.ReadAll(answer.Body)
}

// tiles reads tiles for the sumdb library, each once. Its paths begin with the height of a tile, those of C2SP do not.
type tiles struct {
	from source
	read map[tlog.Tile][]byte
}

func (t tiles) Height() int { return height }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	all := make([][]byte, len(wanted))
	for i, tile := range wanted {
		if t.read[tile] == nil {
			data, err := t.from.read("tile/" + strings.TrimPrefix(tile.Path(), "tile/8/"))
			if err != nil {
				return nil, err
			}
			t.read[tile] = data
		}
		all[i] = t.read[tile]
	}
	return all, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// leaves reads one bundle: each leaf behind its length.
func (s source) leaves(index, size int64) ([][]byte, error) {
	count := size - index*width
	if count > width {
		count = width
	}
	path := tlog.Tile{H: height, L: 0, N: index, W: int(count)}.Path()
	data, err := s.read("tile/entries/" + strings.TrimPrefix(path, "tile/8/0/"))
	if err != nil {
		return nil, err
	}
	var all [][]byte
	for len(data) > 0 {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return nil, fmt.Errorf("bundle %d is cut off", index)
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		all = append(all, data[2:end])
		data = data[end:]
	}
	if int64(len(all)) != count {
		return nil, fmt.Errorf("bundle %d has %d leaves, %d expected", index, len(all), count)
	}
	return all, nil
}

// witness verifies cosignatures (C2SP tlog-cosignature v1), which the note package leaves to others.
type witness struct {
	name string
	id   uint32
	key  ed25519.PublicKey
}

func newWitness(verifier string) (*witness, error) {
	parts := strings.SplitN(verifier, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("a witness's key is name+id+key")
	}
	id, err := strconv.ParseUint(parts[1], 16, 32)
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		return nil, err
	}
	if len(key) != 1+ed25519.PublicKeySize || key[0] != 4 {
		return nil, errors.New("not the key of a witness")
	}
	return &witness{parts[0], uint32(id), key[1:]}, nil
}

func (w *witness) Name() string    { return w.name }
func (w *witness) KeyHash() uint32 { return w.id }
func (w *witness) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(signature)
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", time, text)
	return ed25519.Verify(w.key, []byte(message), signature[8:])
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string         { return strings.Join(*l, ",") }
func (l *list) Set(value string) error { *l = append(*l, value); return nil }

func check(from source, log string, witnesses []string) error {
	verifier, err := note.NewVerifier(log)
	if err != nil {
		return err
	}
	verifiers := []note.Verifier{verifier}
	for _, key := range witnesses {
		known, err := newWitness(key)
		if err != nil {
			return err
		}
		verifiers = append(verifiers, known)
	}
	message, err := from.read("checkpoint")
	if err != nil {
		return err
	}
	opened, err := note.Open(message, note.VerifierList(verifiers...))
	if err != nil {
		return err
	}
	if len(opened.Sigs) != len(verifiers) {
		return fmt.Errorf("%d of %d keys have signed the checkpoint", len(opened.Sigs), len(verifiers))
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return fmt.Errorf("not a checkpoint of %s: %q", verifier.Name(), opened.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return err
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, tiles{from, map[tlog.Tile][]byte{}})
	for index := int64(0); index*width < size; index++ {
		leaves, err := from.leaves(index, size)
		if err != nil {
			return err
		}
		for i, leaf := range leaves {
			number := index*width + int64(i)
			proof, err := tlog.ProveRecord(size, number, reader)
			if err != nil {
				return fmt.Errorf("leaf %d: %w", number, err)
			}
			if err := tlog.CheckRecord(proof, size, root, number, tlog.RecordHash(leaf)); err != nil {
				return fmt.Errorf("leaf %d: %w", number, err)
			}
		}
	}
	grown := 0
	for _, before := range []int64{1, 2, width - 1, width, width + 1, size / 3, size / 2, size - 1, size} {
		if before < 1 || before > size {
			continue
		}
		old, err := tlog.TreeHash(before, reader)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveTree(size, before, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(proof, size, root, before, old); err != nil {
			return fmt.Errorf("from %d leaves: %w", before, err)
		}
		grown++
	}
	fmt.Printf("%s: %d leaves proved one by one, %d earlier sizes, %d cosignatures verified, %d of unknown keys\n",
		lines[0], size, grown, len(witnesses), len(opened.UnverifiedSigs))
	return nil
}

func main() {
	log := flag.String("log", "", "verifier key of the log")
	var witnesses list
	flag.Var(&witnesses, "witness", "verifier key of a witness that must have cosigned; may be given several times")
	flag.Parse()
	if flag.NArg() != 1 || *log == "" {
		flag.Usage()
		os.Exit(64)
	}
	if err := check(source(flag.Arg(0)), *log, witnesses); err != nil {
		fmt.Fprintln(os.Stderr, "NOT VERIFIED:", err)
		os.Exit(1)
	}
}
