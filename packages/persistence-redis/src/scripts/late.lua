-- What a script that begins without the shared parts may still need of them.
return {
  readFilter = readFilter, requeue = requeue, finder = finder, dueInstances = dueInstances, describe = describe,
  wake = wake, hasLeftOwn = function() return leftOwn end,
}
