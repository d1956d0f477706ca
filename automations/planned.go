package automations

import "reflect"

// planned are the keys that packaging/docs/rules.md has and this engine does
// not run yet: they are refused with a sentence that says so.
var planned = map[reflect.Type][]string{
	reflect.TypeFor[Rule]():           {"priority", "limit"},
	reflect.TypeFor[Trigger]():        {"rule", "scene"},
	reflect.TypeFor[MessageTrigger](): {"path", "on", "retained", "settle"},
	reflect.TypeFor[Condition]():      {"home", "rule"},
	reflect.TypeFor[Action]():         {"parallel", "scene"},
	reflect.TypeFor[PublishAction]():  {"expiry"},
	reflect.TypeFor[CommandAction]():  {"entities", "area", "group", "kind", "worth"},
	reflect.TypeFor[WaitAction]():     {"message"},
	reflect.TypeFor[ConfirmAction]():  {"message"},
}
