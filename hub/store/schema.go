package store

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/dgraph-io/badger/v4"

	"lar.home/mqtt"
)

// A migration brings a database from one schema version to the next. It may
// be run again if the process ends before the new version is written.
type migration func(db *badger.DB) error

// migrations, in order: the first leads from version 1 to version 2. A version
// that was released stays as it is; testdata keeps a folder of each.
var migrations = []migration{}

var schemaKey = []byte{reserved, 'v'}

// SchemaError reports a data folder written by a newer Lar.
type SchemaError struct {
	Dir         string
	Have, Known int
}

func (e *SchemaError) Error() string {
	return fmt.Sprintf("data folder %s was written by a newer Lar (schema %d, this one knows %d): "+
		"install that version again, or use another folder", e.Dir, e.Have, e.Known)
}

// migrate brings the database to the present version, which is one more than
// there are migrations.
func (s *Store) migrate(migrations []migration) error {
	known := 1 + len(migrations)
	version, err := s.schema(s.own)
	if err != nil {
		return err
	}
	if version == 0 {
		return s.setSchema(known)
	}
	if version > known {
		return &SchemaError{Dir: s.options.Dir, Have: version, Known: known}
	}
	for ; version < known; version++ {
		s.log.Info("store: migrating", "from", version, "to", version+1)
		if err := migrations[version-1](s.db); err != nil {
			return fmt.Errorf("migrate from schema %d: %w", version, err)
		}
		if err := s.disk.sync(true); err != nil {
			return err
		}
		if err := s.setSchema(version + 1); err != nil {
			return err
		}
	}
	return nil
}

// schema returns the version of the database that is read, 0 if it is new. If the record
// is damaged, records are taken to be of version 1: their own format byte
// tells whether they can be read.
func (s *Store) schema(read func(key []byte) ([]byte, error)) (int, error) {
	value, err := read(schemaKey)
	if err != nil {
		if errors.Is(err, badger.ErrKeyNotFound) {
			return 0, nil
		}
		s.log.Error("store: schema version is damaged", "err", err)
		return 1, nil
	}
	version, err := strconv.Atoi(string(value))
	if err != nil || version < 1 {
		return 0, fmt.Errorf("schema version %q of data folder %s is not one", value, s.options.Dir)
	}
	return version, nil
}

func (s *Store) setSchema(version int) error {
	return s.setOwn(schemaKey, strconv.AppendInt(nil, int64(version), 10))
}

// own reads a record of the store's own.
func (s *Store) own(key []byte) (value []byte, err error) {
	err = s.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if err != nil {
			return err
		}
		record, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		_, value, err = decodeRecord(key, record)
		return err
	})
	return value, err
}

// own is that of a store.
func (v *view) own(key []byte) (value []byte, err error) {
	err = badger.ErrKeyNotFound
	v.scan(key, func(e entry) bool {
		if bytes.Equal(e.key, key) {
			var record []byte
			if record, err = v.record(e); err == nil {
				_, value, err = decodeRecord(key, record)
			}
		}
		return false
	})
	return value, err
}

// setOwn writes a record of the store's own before there is a committer.
func (s *Store) setOwn(key, value []byte) error {
	return s.backend.commitWrites([]mqtt.Write{{Key: key, Value: value}})
}
