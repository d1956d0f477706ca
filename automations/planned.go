package automations

import "reflect"

// planned are keys that packaging/docs/rules.md has and this engine does not
// run yet: they are refused with a sentence that says so.
var planned = map[reflect.Type][]string{
	reflect.TypeFor[CommandAction](): {"group"},
}
