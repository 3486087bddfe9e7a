package org.osier.android.ui

import android.view.View
import android.view.ViewGroup
import android.widget.BaseAdapter

/** A row of a list, filled anew for every item that it shows. */
abstract class Row<in T> {
    abstract val view: View

    abstract fun show(item: T)
}

/** The items of a list, in rows that are reused as it scrolls. */
class Rows<T : Any>(private val row: () -> Row<T>) : BaseAdapter() {
    var shown: List<T> = emptyList()
        set(new) {
            field = new
            notifyDataSetChanged()
        }

    override fun getCount(): Int = shown.size

    override fun getItem(position: Int): T = shown[position]

    override fun getItemId(position: Int): Long = position.toLong()

    override fun getView(position: Int, convertView: View?, parent: ViewGroup): View {
        val view = convertView ?: row().let { new -> new.view.apply { tag = new } }
        // Every view of this list was made, and tagged, in the line above.
        @Suppress("UNCHECKED_CAST")
        (view.tag as Row<T>).show(shown[position])
        return view
    }
}
