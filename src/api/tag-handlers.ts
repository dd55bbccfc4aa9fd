/** Handlers of the tag operations: contract reference, section 1.3, "Tags". */
import type { HandlersOf } from './handlers.ts';

export const tagHandlers: HandlersOf<'ListTags' | 'TagResource' | 'UntagResource'> = {
  async ListTags({ Resource }, { control }) {
    return { Tags: { ...(await control.tags.list(Resource)) } };
  },

  async TagResource({ Resource, Tags }, { control }) {
    await control.tags.change(Resource, { add: Tags });
    return {};
  },

  async UntagResource({ Resource, tagKeys }, { control }) {
    await control.tags.change(Resource, { remove: tagKeys });
    return {};
  },
};
