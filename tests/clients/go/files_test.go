package clients

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/1Password/connect-sdk-go/onepassword"
)

func documents() map[string][]byte {
	blob, large := make([]byte, 256), make([]byte, 300_000)
	for i := range blob {
		blob[i] = byte(i)
	}
	for i := range large {
		large[i] = byte(i * 7)
	}
	return map[string][]byte{"blob.bin": blob, "large.bin": large, "empty.bin": {}}
}

func onlyFile(t *testing.T, item string) onepassword.File {
	t.Helper()
	files, err := client(t).GetFiles(item, secrets)
	must(t, err)
	if len(files) != 1 {
		t.Fatalf("%s has %d files", item, len(files))
	}
	return files[0]
}

func TestFilesAreListedFetchedAndDownloaded(t *testing.T) {
	c := client(t)
	for name, want := range documents() {
		item, err := c.GetItem(name, secrets)
		must(t, err)
		equal(t, "category", item.Category, onepassword.Document)
		if len(item.Files) != 1 {
			t.Fatalf("%s carries %d files", name, len(item.Files))
		}

		listed := onlyFile(t, name)
		equal(t, "name", listed.Name, name)
		equal(t, "size of "+name, listed.Size, len(want))
		equal(t, "the item's file", item.Files[0].ID, listed.ID)
		// The client appends the path to the host unchanged.
		if !strings.HasPrefix(listed.ContentPath, "/v1/") {
			t.Errorf("content_path %q", listed.ContentPath)
		}
		byIDs, err := c.GetFiles(item.ID, item.Vault.ID)
		must(t, err)
		equal(t, "by ids", byIDs[0].ID, listed.ID)

		file, err := c.GetFile(listed.ID, name, secrets)
		must(t, err)
		equal(t, "details", file.ContentPath, listed.ContentPath)
		equal(t, "size", file.Size, len(want))
		if _, err := file.Content(); err == nil {
			t.Errorf("%s came with its content unasked", name)
		}

		content, err := c.GetFileContent(file)
		must(t, err)
		if !bytes.Equal(content, want) {
			t.Errorf("%s: %d bytes that differ from the %d written", name, len(content), len(want))
		}
		// The client has the content cached now.
		if kept, err := file.Content(); err != nil || !bytes.Equal(kept, want) {
			t.Errorf("%s: kept %d bytes, %v", name, len(kept), err)
		}
		// With the file as the list has it, and as the item has it.
		fromItem, err := c.GetFileContent(item.Files[0])
		must(t, err)
		if !bytes.Equal(fromItem, want) {
			t.Errorf("%s: the item's file differs", name)
		}

		dir := t.TempDir()
		path, err := c.DownloadFile(&listed, dir, false)
		must(t, err)
		equal(t, "path", path, filepath.Join(dir, name))
		written, err := os.ReadFile(path)
		must(t, err)
		if !bytes.Equal(written, want) {
			t.Errorf("%s: downloaded %d bytes that differ", name, len(written))
		}
		_, err = c.DownloadFile(&listed, dir, false)
		fails(t, err, "already exists")
		_, err = c.DownloadFile(&listed, dir, true)
		must(t, err)
	}
}

func TestItemWithoutFiles(t *testing.T) {
	files, err := client(t).GetFiles("api", secrets)
	must(t, err)
	equal(t, "files", len(files), 0)
}

func TestNoSuchFile(t *testing.T) {
	c := client(t)
	_, err := c.GetFile(unknownID, "blob.bin", secrets)
	refused(t, err, 404, "file "+unknownID+" not found")
	_, err = c.GetFile("short", "blob.bin", secrets)
	fails(t, err, "malformed file uuid")
	_, err = c.GetFiles(unknownID, secrets)
	refused(t, err, 404, "item "+unknownID+" not found")
	_, err = c.GetFiles("no such item", secrets)
	fails(t, err, "Found 0 item(s)")

	// The id of another item's file.
	_, err = c.GetFile(onlyFile(t, "large.bin").ID, "blob.bin", secrets)
	refused(t, err, 404, "not found")

	gone := onlyFile(t, "blob.bin")
	gone.ContentPath = strings.Replace(gone.ContentPath, gone.ID, unknownID, 1)
	_, err = c.GetFileContent(&gone)
	refused(t, err, 404, "file "+unknownID+" not found")
}

func TestFilesOfAForeignVaultAreForbidden(t *testing.T) {
	item := create(t, login(t))
	foreign := secretsOnly()
	_, err := foreign.GetFiles(item.ID, item.Vault.ID)
	forbidden(t, err)
	_, err = foreign.GetFile(unknownID, item.ID, item.Vault.ID)
	forbidden(t, err)
	_, err = foreign.GetFileContent(&onepassword.File{ContentPath: "/v1/vaults/" + item.Vault.ID + "/items/" + item.ID + "/files/" + unknownID + "/content"})
	forbidden(t, err)
}
